"""The interface of channels: `open_notifier` makes the notifier of `kind:address`."""

from collections.abc import Mapping
from typing import Any, Protocol

from monitor.alerts.notification import Notification
from monitor.broker.access import find_access, list_settings
from monitor.errors import ConfigError, MissingSettingError
from monitor.settings.secret_variables import find_secret
from monitor.settings.service import ServiceConfig
from monitor.sites.channels import list_channel_kinds, split_channel
from monitor.storage.engine import Database


class Notifier(Protocol):
    """Delivers messages by one channel. Used by one thread at a time."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        """Read the settings; raise ConfigError if the address or an environment variable is wrong."""

    def deliver(self, notification: Notification) -> str | None:
        """Send a message and return when the other side has taken it.

        It must return before the lease of the message expires (35 s). The message contains the idempotency key,
        because it may be sent twice.

        Returns:
            The id of the message at the provider, if the provider reports later what became of it
            (`monitor.delivery.queries.receipts`).

        Raises:
            DeliveryError: The message was not taken. `permanent`: another attempt is useless. `retry_after_s`: when to
                try again. `is_whole`: the other side may have received the whole message.
        """


def open_notifier(channel: str, environ: Mapping[str, str], db: Database | None = None) -> Notifier:
    """Return the notifier of a channel; raise ConfigError if its kind is unknown or a setting is missing."""
    kind, address = split_channel(channel)
    kinds = list_channel_kinds()
    if kind not in kinds:
        raise ConfigError(f"channel {channel!r}: kind {kind!r} is unknown; known: {', '.join(kinds)}")
    arguments = (address, environ, db) if kinds[kind].needs_database else (address, environ)
    try:
        notifier: Notifier = kinds[kind].notifier(*arguments)
    except ImportError as error:
        raise ConfigError(f"channel {channel!r}: {error}") from error
    return notifier


def channel_settings(config: ServiceConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of channels by the names of environment variables.

    Variables of the environment take precedence over the service file, except for the broker: a managed broker has its
    own login for the service.
    """
    sections: dict[str, Any] = {"SMTP": config.smtp, "PUSH": config.push, "SMS": config.sms, "SIREN": config.siren}
    settings = {
        f"SLOPEWARD_{name}__{key.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, section in sections.items()
        for key, value in section.model_dump().items()
        if value not in ("", None, ())
    }
    settings["SLOPEWARD_WEB__PUBLIC_URL"] = config.web.public_url.rstrip("/")
    settings["SLOPEWARD_CAP__SENDER"] = config.cap.sender
    settings |= environ
    settings |= list_settings(find_access(config.broker))
    settings["SLOPEWARD_SIGNING__KEYS"] = config.signing.keys
    settings["SLOPEWARD_PATHS__STATE"] = str(config.paths.state)
    return settings


def read_secret(environ: Mapping[str, str], name: str, channel_kind: str) -> str:
    """Return the value of an environment variable, or of the file that `<name>_FILE` names.

    Raises:
        ConfigError: `name` is not the name of a variable.
        MissingSettingError: The variable is not set.
    """
    if not name.replace("_", "").isalnum() or name != name.upper():
        raise ConfigError(
            f"channel {channel_kind}:...: write the NAME of an environment variable in capitals, not the address itself"
        )
    secret = find_secret(environ, name)
    if secret is None:
        raise MissingSettingError(f"channel {channel_kind}:{name}: the environment variable {name} is not set")
    return secret
