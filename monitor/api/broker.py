"""The managed broker: logins, access and signed messages."""

from monitor.broker.access import (
    HOW_TO_INSTALL,  # text for people: how to install Mosquitto
    Access,  # address and login of an MQTT broker
    find_access,  # return the broker access of the service's own clients for a [broker] section
    parse_access,  # parse a broker URL into an access record; raises ConfigError
    read_access,  # return the broker access given by environment variables
)
from monitor.broker.logins import (
    issue_temporary_login,  # context manager that issues a temporary login at the managed broker
)
from monitor.broker.signing import (
    KEYS_FILE,  # name of the file of signing keys in `paths.state`
    Keyring,  # signing keys, oldest first, reloaded when the key file changes
    SigningKey,  # signing key: id and shared secret
    is_signed,  # return whether a message carries a valid signature by one of the keys
    sign,  # return a JSON object with `signed_at` and a signature by each key appended
)

__all__ = [
    "HOW_TO_INSTALL",
    "KEYS_FILE",
    "Access",
    "Keyring",
    "SigningKey",
    "find_access",
    "is_signed",
    "issue_temporary_login",
    "parse_access",
    "read_access",
    "sign",
]
