"""Environment variables of child processes: each process gets only the secrets that it uses.

The web process needs the database and the provider of logins. The core needs the broker, the mail server, the keys and
the variables that channels name. Workers and Mosquitto get no secret (`monitor.worker.sandbox.clean_environment`).
"""

from collections.abc import Mapping
from typing import Final

from monitor.settings.service import SECRETS, VARIABLE_PREFIX
from monitor.worker.sandbox import clean_environment

# Sections whose secrets only the core uses.
CORE_ALONE: Final = frozenset({"broker", "smtp", "signing", "push"})
# Sections whose secrets both processes use: the web process also signs messages, and checks who answers a message.
SHARED: Final = frozenset({"cap", "sms"})
# Variables of libraries that the web process uses to reach the database and the provider of logins.
_WEB_VARIABLES: Final = frozenset(
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
# Passwords that people pass to commands. The service does not use them.
_PASSWORDS_OF_PEOPLE: Final = frozenset({f"{VARIABLE_PREFIX}BY_PASSWORD", f"{VARIABLE_PREFIX}USER_PASSWORD"})
# Prefix of the variables of libpq.
_POSTGRESQL_PREFIX: Final = "PG"
# Settings of glibc: few arenas, and large blocks are returned to the system. Settings of the user take precedence.
_MALLOC: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}
# Only the supervisor uses this address. A process that has it could call the outside watcher in place of the service.
_PING_URL: Final = f"{VARIABLE_PREFIX}WATCHDOG__PING_URL"


def core_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return all variables except the secrets of the web process and the passwords of people.

    A channel may name any other variable.

    >>> core_environment({"SIREN_URL": "s", "SLOPEWARD_BROKER__PASSWORD": "b"})["SIREN_URL"]
    's'
    """
    selected = _without_secrets_of_other(environ, is_core=True)
    return _MALLOC | {name: value for name, value in selected.items() if name not in _PASSWORDS_OF_PEOPLE}


def web_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the web process: settings, and only the secrets of the web process.

    >>> web_environment({"SIREN_URL": "s", "SLOPEWARD_BROKER__PASSWORD": "b", "PGPASSWORD": "p"})["PGPASSWORD"]
    'p'
    >>> sorted({"SIREN_URL", "SLOPEWARD_BROKER__PASSWORD"} & web_environment({"SIREN_URL": "s"}).keys())
    []
    """
    selected = {
        name: value
        for name, value in environ.items()
        if name in _WEB_VARIABLES
        or name.startswith(_POSTGRESQL_PREFIX)
        or (name.startswith(VARIABLE_PREFIX) and "__" in name)
    }
    selected.pop(_PING_URL, None)
    return clean_environment(environ) | _without_secrets_of_other(selected, is_core=False)


def _without_secrets_of_other(environ: Mapping[str, str], *, is_core: bool) -> dict[str, str]:
    """Remove the secrets of the other process. Empty `_FILE` variables prevent it from reading them from files."""
    removed = {
        f"{VARIABLE_PREFIX}{section}__{key}".upper()
        for section, key in SECRETS
        if section not in SHARED and (section in CORE_ALONE) is not is_core
    }
    remaining = {name: value for name, value in environ.items() if name not in removed}
    return remaining | {f"{name}_FILE": "" for name in removed}
