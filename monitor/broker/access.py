"""Address of the MQTT broker and login of the service, from the settings or the folder of the managed broker."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from monitor.broker.client import ServiceClient
from monitor.errors import ConfigError
from monitor.text.message import Template

# Login of the service at the managed broker.
SERVICE_USER: Final = "slopeward"
# Files in the folder `broker.data`: Unix socket of the service, and its password.
SOCKET: Final = "service.sock"
SERVICE_SECRET: Final = "service.secret"  # noqa: S105 - the name of a file
HOW_TO_INSTALL: Final = Template(
    "broker.how_to_install",
    "install Mosquitto: sudo apt-get install mosquitto (or use your own broker: broker.mode = external)",
)()
_ENVIRONMENT_PREFIX: Final = "SLOPEWARD_BROKER__"
_PORT: Final = 1883
_TLS_PORT: Final = 8883


@dataclass(frozen=True, slots=True)
class Access:
    """Address of a broker and a login.

    Attributes:
        mqtt5: Whether the broker supports MQTT 5. The demonstration broker supports 3.1.1 only.
        socket: Path of a Unix socket, used instead of host and port if it is not empty.
    """

    host: str = "127.0.0.1"
    port: int = _PORT
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    mqtt5: bool = True
    socket: str = ""

    @property
    def url(self) -> str:
        """The address as a URL without the login."""
        if self.socket:
            return f"unix://{self.socket}"
        scheme = "mqtts" if self.tls else "mqtt"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def target(self) -> tuple[str, int]:
        """Host and port for `connect` of paho. For a Unix socket, its path and a port."""
        # paho ignores the port of a Unix socket, but refuses 0.
        return (self.socket, 1) if self.socket else (self.host, self.port)

    def open_client(self, client_id: str, *, mqtt5: bool, **options: Any) -> ServiceClient:
        """Return a client with this login that is not connected yet.

        Args:
            options: Further arguments of `paho.mqtt.client.Client`.
        """
        client = ServiceClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            transport="unix" if self.socket else "tcp",
            protocol=MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311,
            **options,
        )
        if self.username:
            client.username_pw_set(self.username, self.password or None)
        if self.tls:
            client.tls_set(ca_certs=self.ca_file or None)
        return client


def parse_access(url: str, username: str = "", password: str = "", ca_file: str = "") -> Access:
    """Return the access for a URL. A login in the URL is used unless `username` and `password` are given.

    >>> parse_access("mqtts://h").port, parse_access("unix:///run/x.sock").socket
    (8883, '/run/x.sock')

    Raises:
        ConfigError: The URL does not start with mqtt://, mqtts:// or unix://.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return Access(username=username, password=password, socket=url.removeprefix("unix://"))
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise ConfigError("broker url must look like mqtt://host:1883 or mqtts://host:8883")
    tls = parts.scheme == "mqtts"
    return Access(
        parts.hostname,
        parts.port or (_TLS_PORT if tls else _PORT),
        tls,
        username or unquote(parts.username or ""),
        password or unquote(parts.password or ""),
        ca_file,
    )


def find_access(broker: Any) -> Access:
    """Return address and login of the service for the broker of a `[broker]` section.

    The folder of the managed broker contains a Unix socket and a secret for the service, which only the account of the
    service can read. If the folder has no secret, host and port of the section are used.

    Args:
        broker: The section, or any object with some of its attributes.
    """
    mode = getattr(broker, "mode", "external")
    if mode == "managed":
        folder = Path(broker.data)
        try:
            secret = (folder / SERVICE_SECRET).read_text(encoding="ascii").strip()
        except OSError:
            secret = ""
        if secret:
            return Access(username=SERVICE_USER, password=secret, socket=os.fspath(folder / SOCKET))
    return Access(
        broker.host,
        broker.port,
        getattr(broker, "tls", False),
        broker.username,
        broker.password,
        getattr(broker, "ca_file", ""),
        mqtt5=mode != "demo",
    )


def list_settings(access: Access) -> dict[str, str]:
    """Return the access as environment variables for notification channels. `read_access` is the inverse."""
    values = {"URL": access.url, "USERNAME": access.username, "PASSWORD": access.password, "CA_FILE": access.ca_file}
    return {f"{_ENVIRONMENT_PREFIX}{key}": value for key, value in values.items()}


def read_access(environ: Mapping[str, str]) -> Access:
    """Return the access from the environment variables that `list_settings` returns."""
    return parse_access(
        environ.get(f"{_ENVIRONMENT_PREFIX}URL", f"mqtt://127.0.0.1:{_PORT}"),
        environ.get(f"{_ENVIRONMENT_PREFIX}USERNAME", ""),
        environ.get(f"{_ENVIRONMENT_PREFIX}PASSWORD", ""),
        environ.get(f"{_ENVIRONMENT_PREFIX}CA_FILE", ""),
    )
