"""Help: what it adds to the service."""

from typing import Final

from monitor.domain.extension import Address, Extension

_HERE: Final = "monitor.extensions.help"
EXTENSION: Final = Extension(
    name="help",
    description="the documents, read and searched on the page without a network",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses=dict.fromkeys(
        ("GET /help", "GET /help/{page}", "GET /help/{folder}/{page}"), Address("read", of_no_site=True)
    ),
)
