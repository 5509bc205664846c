"""What a process of the service gets of the environment: the secrets that it uses itself, and no others.

The page needs the database and the provider of logins; core needs the broker, the mail server, the keys and whatever
variables the channels name. Workers and Mosquitto get no secret at all (`monitor.worker.sandbox.clean_environment`).
"""

from collections.abc import Mapping
from typing import Final

from monitor.settings.service import SECRETS, VARIABLE_PREFIX
from monitor.worker.sandbox import clean_environment

CORE_ALONE: Final = frozenset({"broker", "smtp", "signing", "push"})  # sections whose secrets the page has no use for
SHARED: Final = frozenset({"cap", "sms"})  # the page hands out signed messages, and checks who answers, as core does
# what libraries of the page read: the database's client, and the way to the provider of logins
_PAGE: Final = frozenset(
    {
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "TMPDIR",
        f"{VARIABLE_PREFIX}CONFIG",
        f"{VARIABLE_PREFIX}TRACEBACK",
    }
)
_OF_PEOPLE: Final = frozenset(
    {f"{VARIABLE_PREFIX}BY_PASSWORD", f"{VARIABLE_PREFIX}USER_PASSWORD"}
)  # at the command line
_DATABASE: Final = "PG"
# glibc: few arenas, and what a job takes at once comes from the system and goes back to it; what the user sets holds
_MALLOC: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}
_ADDRESS_IS_SECRET: Final = f"{VARIABLE_PREFIX}WATCHDOG__PING_URL"  # who knows it can say that all is well


def core_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """All but the secrets of the page: a channel may name any variable.

    >>> core_environment({"SIREN_URL": "s", "SLOPEWARD_BROKER__PASSWORD": "b"})["SIREN_URL"]
    's'
    """
    return _MALLOC | {k: v for k, v in _without(environ, page=True).items() if k not in _OF_PEOPLE}


def page_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings, and the secrets of the page alone.

    >>> page_environment({"SIREN_URL": "s", "SLOPEWARD_BROKER__PASSWORD": "b", "PGPASSWORD": "p"})["PGPASSWORD"]
    'p'
    >>> sorted({"SIREN_URL", "SLOPEWARD_BROKER__PASSWORD"} & page_environment({"SIREN_URL": "s"}).keys())
    []
    """
    known = {
        name: value
        for name, value in environ.items()
        if name in _PAGE or name.startswith(_DATABASE) or (name.startswith(VARIABLE_PREFIX) and "__" in name)
    }
    known.pop(_ADDRESS_IS_SECRET, None)
    return clean_environment(environ) | _without(known, page=False)


def _without(environ: Mapping[str, str], *, page: bool) -> dict[str, str]:
    """What is left without the secrets of the page, or without those of core; files with them are not read either."""
    others = {
        f"{VARIABLE_PREFIX}{section}__{key}".upper()
        for section, key in SECRETS
        if section not in SHARED and (section in CORE_ALONE) is not page
    }
    kept = {name: value for name, value in environ.items() if name not in others}
    return kept | {f"{name}_FILE": "" for name in others}
