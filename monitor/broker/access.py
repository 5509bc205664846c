"""Where a client of the service finds the broker, and as whom: by URL, or by the socket of the managed broker."""

import hashlib
import os
import socket as sockets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from monitor.errors import ConfigError
from monitor.readings.records import PayloadSize
from monitor.text.message import Template

SERVICE_USER: Final = "slopeward"  # at the managed broker
SOCKET: Final = "service.sock"  # in `broker.data`: instruments have another door
SERVICE_SECRET: Final = "service.secret"  # noqa: S105 - the name of a file
HOW_TO_INSTALL: Final = Template(
    "broker.how_to_install",
    "install Mosquitto: sudo apt-get install mosquitto (or use a broker of yours: broker.mode = external)",
)()
_PREFIX: Final = "SLOPEWARD_BROKER__"
_PACKETS_AT_ONCE: Final = 500  # then what waits to be sent has its turn
_LARGE_BYTES: Final = 1 << 16  # of a packet
_HEAD_BYTES: Final = (1 << 16) + 16  # then a topic and the length of the properties have come
_PUBLISH: Final = 0x30
_TYPE_BITS: Final = 0xF0
_QOS_BITS: Final = 0x06
_QOS_2: Final = 0x04
_MORE: Final = 0x80  # of a byte of a length: another one follows


@dataclass(frozen=True, slots=True)
class PayloadLimits:
    """Of which payloads a client keeps only the beginning: nobody reads them."""

    above_bytes: int
    beginning_bytes: int


class _TruncatedPacket(bytearray):
    """A packet of which the beginning is kept and the rest digested as it comes: it is held nowhere as a whole."""

    def __init__(self, keeping: PayloadLimits, find_payload: Callable[[bytearray], int], length: int) -> None:
        super().__init__()
        self._keeping, self._find_payload, self._length = keeping, find_payload, length
        self._digest: Any = None  # of a payload that is kept whole, there is none
        self._payload_bytes = 0

    @property
    def whole(self) -> PayloadSize | None:
        """What came, where it is not kept."""
        return None if self._digest is None else PayloadSize(self._payload_bytes, self._digest.hexdigest())

    def __iadd__(self, data: Any) -> Self:  # type: ignore[misc]  # so paho adds what it reads
        if self._digest is not None:
            self._digest.update(data)
            return self
        super().__iadd__(data)
        if len(self) < _HEAD_BYTES or self._payload_bytes:
            return self
        begin = self._find_payload(self)
        end = begin + self._keeping.beginning_bytes
        if end <= len(self):
            self._payload_bytes = self._length - begin
            if self._payload_bytes > self._keeping.above_bytes:
                topic_end = 2 + int.from_bytes(self[:2])
                self._digest = hashlib.sha256(self[2:topic_end] + b"\0")
                with memoryview(self) as came:
                    self._digest.update(came[begin:])
                del self[end:]
        return self


class ServiceClient(paho.Client):
    """paho's client, which leaves a socket open where it comes to no connection (2.1.0): here it is closed at once."""

    wrap: Callable[[Any], Any] = staticmethod(lambda made: made)  # what is read is read through this
    keeping: PayloadLimits | None = None  # None: every payload is kept whole
    whole: PayloadSize | None = None  # of the message in hand, where only the beginning of its payload is kept
    _payload: bytes | None = None  # of the packet in hand, where it was taken out

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read a packet, and those that lie in memory already: to look for each costs more than to read it."""
        result = super().loop_read(max_packets)
        for _ in range(_PACKETS_AT_ONCE):
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS or not getattr(self._sock, "ahead", 0):
                break
            result = super().loop_read(max_packets)
        return result

    def _sock_recv(self, bufsize: int) -> bytes:
        found = super()._sock_recv(bufsize)
        if self.keeping is not None and bufsize > self.keeping.above_bytes:
            packet, first = self._in_packet, self._in_packet["command"]
            is_new = bufsize == packet["remaining_length"]
            if is_new and first & _TYPE_BITS == _PUBLISH and not first & _QOS_2:  # those are handed over later
                packet["packet"] = _TruncatedPacket(
                    self.keeping, partial(self._find_payload, has_id=bool(first & _QOS_BITS)), bufsize
                )
        return found

    def _handle_publish(self) -> MQTTErrorCode:
        """Take a large payload out of its packet before paho reads it: paho copies what it reads five times.

        No other thread of the process runs meanwhile.
        """
        packet, first = self._in_packet["packet"], self._in_packet["command"]
        self.whole = packet.whole if isinstance(packet, _TruncatedPacket) else None
        if len(packet) > _LARGE_BYTES and not first & _QOS_2:  # those of QoS 2 are handed over later
            begin = self._find_payload(packet, has_id=bool(first & _QOS_BITS))
            if begin <= len(packet):
                with memoryview(packet) as whole:
                    self._payload = bytes(whole[begin:])
                self._in_packet["packet"] = packet[:begin]
        try:
            return super()._handle_publish()
        finally:
            self._payload = self.whole = None  # of a message that paho refused, too

    def _find_payload(self, packet: bytearray, *, has_id: bool) -> int:
        """Where the payload of a published message begins: behind its topic, its number and its properties."""
        begin = 2 + int.from_bytes(packet[:2]) + 2 * has_id
        if self.protocol == MQTTProtocolVersion.MQTTv5:
            length = shift = 0
            for byte in packet[begin : begin + 4]:
                begin += 1
                length |= (byte & ~_MORE) << shift
                shift += 7
                if not byte & _MORE:
                    break
            begin += length
        return begin

    def _handle_on_message(self, message: paho.MQTTMessage) -> None:
        if self._payload is not None:
            message.payload, self._payload = self._payload, None
        super()._handle_on_message(message)

    def _create_socket(self) -> Any:
        return self.wrap(super()._create_socket())

    def _create_unix_socket_connection(self) -> sockets.socket:
        made = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            made.connect(self._host)
        except BaseException:
            made.close()
            raise
        return made

    def _ssl_wrap_socket(self, tcp_sock: Any) -> ssl.SSLSocket:
        assert isinstance(self._ssl_context, ssl.SSLContext)
        try:
            made = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        except BaseException:
            tcp_sock.close()
            raise
        try:
            made.settimeout(self._connect_timeout)
            made.do_handshake()  # the context compares the name, too
        except BaseException:
            made.close()
            raise
        return made


@dataclass(frozen=True, slots=True)
class Access:
    """A broker's address and the login there."""

    host: str = "127.0.0.1"
    port: int = 1883
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    mqtt5: bool = True  # the demo broker speaks 3.1.1 only, which has no Receive Maximum
    socket: str = ""  # path of a Unix socket; wins over host and port

    @property
    def url(self) -> str:
        """The address as one word."""
        if self.socket:
            return f"unix://{self.socket}"
        return f"mqtt{'s' * self.tls}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def target(self) -> tuple[str, int]:
        """What a client connects to; the port of a socket means nothing."""
        return (self.socket, 1) if self.socket else (self.host, self.port)

    def open_client(self, client_id: str, *, mqtt5: bool, **more: Any) -> ServiceClient:
        """A client with this login that is not connected yet."""
        client = ServiceClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            transport="unix" if self.socket else "tcp",
            protocol=MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311,
            **more,
        )
        if self.username:
            client.username_pw_set(self.username, self.password or None)
        if self.tls:
            client.tls_set(ca_certs=self.ca_file or None)
        return client


def parse_access(url: str, username: str = "", password: str = "", ca_file: str = "") -> Access:
    """The access that a URL names.

    >>> parse_access("mqtts://h").port, parse_access("unix:///run/x.sock").socket
    (8883, '/run/x.sock')

    Raises:
        ConfigError: it is no mqtt://, mqtts:// or unix:// address.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return Access(username=username, password=password, socket=url.removeprefix("unix://"))
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise ConfigError("broker url must look like mqtt://host:1883 or mqtts://host:8883")
    tls = parts.scheme == "mqtts"
    return Access(
        parts.hostname,
        parts.port or (8883 if tls else 1883),
        tls,
        username or unquote(parts.username or ""),
        password or unquote(parts.password or ""),
        ca_file,
    )


def find_access(broker: Any) -> Access:
    """How the service's own clients reach the broker of a [broker] section.

    The managed broker lets them in by a socket in its folder, with a secret that lies there: only the account of the
    service can read either. A folder without them is reached by the URL.
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
    """The access as settings of the environment, for channels."""
    settings = {"URL": access.url, "USERNAME": access.username, "PASSWORD": access.password, "CA_FILE": access.ca_file}
    return {f"{_PREFIX}{key}": value for key, value in settings.items()}


def read_access(environ: Mapping[str, str]) -> Access:
    """The access that settings of the environment name; the inverse of `list_settings`."""
    return parse_access(
        environ.get(f"{_PREFIX}URL", "mqtt://127.0.0.1:1883"),
        environ.get(f"{_PREFIX}USERNAME", ""),
        environ.get(f"{_PREFIX}PASSWORD", ""),
        environ.get(f"{_PREFIX}CA_FILE", ""),
    )
