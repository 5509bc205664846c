"""Single sign-on: what it adds to the service."""

from typing import Final

from monitor.domain.extension import Address, Extension

_HERE: Final = "monitor.extensions.single_sign_on"
EXTENSION: Final = Extension(
    name="single_sign_on",
    description="logins by a provider elsewhere (OpenID Connect), as `[oidc]` of the service file names it",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses=dict.fromkeys(("GET /login/oidc", "GET /login/oidc/back", "POST /login/oidc/code"), Address("open")),
    panels={"login.ways": ("login_elsewhere.html",)},
)
