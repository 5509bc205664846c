"""The seam to channels: `kind:address` becomes a notifier that delivers one notification or says why not."""

from collections.abc import Mapping
from typing import Any, Protocol

from monitor.alerts.notification import Notification
from monitor.broker.access import find_access, list_settings
from monitor.errors import ConfigError, MissingSettingError
from monitor.settings.sealed_texts import find_secret
from monitor.settings.service import ServiceConfig
from monitor.sites.channels import list_channel_kinds, split_channel
from monitor.storage.engine import Database


class Notifier(Protocol):
    """One channel. Used by one thread at a time."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        """Read settings; raises ConfigError when the address or an environment variable does not fit."""

    def deliver(self, notification: Notification) -> str | None:
        """Send and return when the other side has taken it.

        Must come back before the lease of a message ends (35 s). The idempotency key goes along: it may be sent twice.

        Returns:
            What the other side calls the message, where it says later what became of it
            (`monitor.delivery.queries.receipts`).

        Raises:
            DeliveryError: not taken; `permanent` says that trying again is useless, `retry_after_s` when to try.
        """


def open_notifier(channel: str, environ: Mapping[str, str], db: Database | None = None) -> Notifier:
    """Build the notifier of a channel; raises ConfigError for an unknown kind or missing settings."""
    kind, address = split_channel(channel)
    if kind not in list_channel_kinds():
        raise ConfigError(f"channel {channel!r}: kind {kind!r} is unknown; known: {', '.join(list_channel_kinds())}")
    more = (db,) if list_channel_kinds()[kind].needs_database else ()
    try:
        notifier: Notifier = list_channel_kinds()[kind].notifier(address, environ, *more)
    except ImportError as error:
        raise ConfigError(f"channel {channel!r}: {error}") from error
    return notifier


def channel_settings(config: ServiceConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, with what the service file says of mail server and broker laid under the same names."""
    sections: dict[str, Any] = {"SMTP": config.smtp, "PUSH": config.push, "SMS": config.sms, "SIREN": config.siren}
    read = {
        f"SLOPEWARD_{name}__{key.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, section in sections.items()
        for key, value in section.model_dump().items()
        if value not in ("", None, ())
    }
    read["SLOPEWARD_WEB__PUBLIC_URL"] = config.web.public_url.rstrip("/")
    # the managed broker has a door of its own for the service, whatever the environment says of the instruments' one
    signing = {"SLOPEWARD_SIGNING__KEYS": config.signing.keys, "SLOPEWARD_PATHS__STATE": str(config.paths.state)}
    cap = {"SLOPEWARD_CAP__SENDER": config.cap.sender}
    return read | cap | dict(environ) | list_settings(find_access(config.broker)) | signing


def read_secret(environ: Mapping[str, str], name: str, channel_kind: str) -> str:
    """The value of an environment variable, or of the file that `<name>_FILE` points to."""
    if not name.replace("_", "").isalnum() or name != name.upper():
        raise ConfigError(
            f"channel {channel_kind}:...: write the NAME of an environment variable in capitals, not the address itself"
        )
    if (found := find_secret(environ, name)) is None:
        raise MissingSettingError(f"channel {channel_kind}:{name}: the environment variable {name} is not set")
    return found
