"""Limits on connections, so that slow, silent or numerous clients cannot keep others from the page."""

from asyncio import TimerHandle, Transport
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# From connecting, or from the first byte of a request, to the end of headers and body.
REQUEST_TIMEOUT_S: Final = 15.0
# While a client does not read its response. Together with the send buffer of the connection (64 KiB) this bounds the
# memory that slow clients occupy, also those of event streams.
READ_TIMEOUT_S: Final = 30.0
# A browser opens six connections.
MAX_CONNECTIONS_PER_ADDRESS: Final = 40
# When a further connection is opened, the one that has been idle for longest is closed.
MAX_CONNECTIONS: Final = 150


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 with limits on times and on the number of connections.

    Attributes:
        proxies: Addresses or networks whose number of connections is not limited.
        active_s: Time of the event loop at which the client sent data last.
    """

    proxies: Sequence[str] = ()
    active_s = 0.0
    _request_timer: TimerHandle | None = None
    _read_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Accept a connection, or close it if its address has too many."""
        super().connection_made(transport)
        others = [
            connection
            for connection in self.connections
            if isinstance(connection, LimitedProtocol)
            and connection is not self
            and not connection.transport.is_closing()
        ]
        address = _find_network(self)
        if not is_within(address, self.proxies):
            count = sum(_find_network(connection) == address for connection in others)
            if count >= MAX_CONNECTIONS_PER_ADDRESS:
                transport.abort()
                return
        if len(others) >= MAX_CONNECTIONS:
            idle = [connection for connection in others if connection.is_idle]
            if idle:
                min(idle, key=lambda connection: connection.active_s).transport.abort()
        self.active_s = self.loop.time()
        self._start_request_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of a closed connection."""
        self._stop_request_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no complete request is being answered. An open event stream is not idle."""
        return self.cycle is None or self.cycle.response_complete or self.conn.their_state is h11.SEND_BODY

    def data_received(self, data: bytes) -> None:
        """Receive data. The time limit of an incomplete request does not start again."""
        self.active_s = self.loop.time()
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self.conn.their_state is h11.SEND_BODY:
            self._start_request_timer()
        else:
            self._stop_request_timer()

    def pause_writing(self) -> None:
        """Start the time limit of a client that does not read; the send buffer is full."""
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the time limit, because the client reads again."""
        self._stop_read_timer()
        super().resume_writing()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _start_request_timer(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None


def limit_connections(proxies: Sequence[str]) -> type[LimitedProtocol]:
    """Return the protocol for a server behind proxies, which are given as addresses or networks."""
    return type("LimitedProtocolBehindProxies", (LimitedProtocol,), {"proxies": tuple(proxies)})


def is_within(host: str, networks: Sequence[str]) -> bool:
    """Return whether a host is an address within one of the networks.

    >>> is_within("10.0.0.7", ["10.0.0.0/8"]), is_within("unix", ["10.0.0.0/8"])
    (True, False)
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in ip_network(network, strict=False) for network in networks)


def network_of(host: str) -> str:
    """Return the part of an address that one sender cannot vary at will.

    One machine may have a whole /64 network of IPv6 addresses.

    >>> network_of("192.0.2.7"), network_of("2001:db8:1:2:3::4"), network_of("unix")
    ('192.0.2.7', '2001:db8:1:2::', 'unix')
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))


def _find_network(connection: Any) -> str:
    return network_of(connection.client[0] if connection.client else "")
