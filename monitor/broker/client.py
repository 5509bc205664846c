"""Client of paho that parses published messages itself and closes sockets whose connection failed."""

import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion

from monitor.broker.message_socket import MessageSocket, PayloadLimits, ReceivedPublish

_PUBACK: Final = 0x40
_PUBACK_PACKET: Final = struct.Struct("!BBH")  # type, remaining length, packet identifier; the reason is success


class ServiceClient(paho.Client):
    """Paho client of the service.

    Three private methods of paho are overridden, because paho has no other means for it:

    * `_create_socket` wraps the socket in a `MessageSocket` for a client that calls `read_messages`.
    * `_create_unix_socket_connection` and `_ssl_wrap_socket` close a socket that could not be connected. Paho 2.2
      leaves them to the garbage collector, and a service that retries for days would run out of sockets.
    """

    _on_publish_received: Callable[[ReceivedPublish], None] | None = None
    _limits: PayloadLimits
    _has_room: Callable[[], bool]

    def read_messages(
        self,
        on_publish: Callable[[ReceivedPublish], None],
        limits: PayloadLimits,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Hand published messages to `on_publish` instead of `on_message`. Call this before connecting.

        Args:
            on_publish: Called in the network thread. Nothing is acknowledged.
            limits: Of a larger payload only the beginning is kept.
            has_room: Whether more messages can be handed over. While it returns False nothing is read.
        """
        self._on_publish_received = on_publish
        self._limits = limits
        self._has_room = has_room

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1 in this order.

        `ack` of paho makes three system calls for each message. Here the acknowledgements are one packet for paho.
        """
        if packet_ids:
            packets = b"".join(_PUBACK_PACKET.pack(_PUBACK, 2, packet_id) for packet_id in packet_ids)
            self._packet_queue(_PUBACK, packets, packet_ids[-1], 1)

    def _create_socket(self) -> Any:
        connected = super()._create_socket()
        if self._on_publish_received is None:
            return connected
        return MessageSocket(
            connected,
            self._on_publish_received,
            has_properties=self.protocol == MQTTProtocolVersion.MQTTv5,
            limits=self._limits,
            has_room=self._has_room,
        )

    def _create_unix_socket_connection(self) -> socket.socket:
        unix_socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            unix_socket.connect(self._host)
        except BaseException:
            unix_socket.close()
            raise
        return unix_socket

    def _ssl_wrap_socket(self, tcp_sock: Any) -> ssl.SSLSocket:
        assert isinstance(self._ssl_context, ssl.SSLContext)
        try:
            tls_socket = self._ssl_context.wrap_socket(
                tcp_sock, server_hostname=self._host, do_handshake_on_connect=False
            )
        except BaseException:
            tcp_sock.close()
            raise
        try:
            tls_socket.settimeout(self._connect_timeout)
            tls_socket.do_handshake()  # verifies the host name too
        except BaseException:
            tls_socket.close()
            raise
        return tls_socket
