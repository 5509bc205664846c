"""Limits of connections: slow or silent ones are closed, so that they do not block other readers."""

from asyncio import TimerHandle, Transport
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 15.0  # longest time from connecting, or from the first byte, to the end of headers and body
READING_S: Final = 30.0  # longest time in which a client does not read a response
MOST_OF_ADDRESS: Final = 40  # connections of one address; a browser opens six
MOST_CONNECTIONS: Final = 150  # at this number, a new connection closes the one that was idle longest


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with limits on times and numbers of connections.

    Attributes:
        proxies: addresses or networks of proxies, which may open more connections.
        last_data_s: time of the event loop at which the connection last received data.
    """

    proxies: Sequence[str] = ()
    last_data_s = 0.0
    _request_timer: TimerHandle | None = None
    _reading_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Accept a connection, unless its address has too many."""
        super().connection_made(transport)
        address = _get_network(self)
        others = [
            connection
            for connection in self.connections
            if isinstance(connection, PatientProtocol)
            and connection is not self
            and not connection.transport.is_closing()
        ]
        same_address = sum(_get_network(connection) == address for connection in others)
        if same_address >= MOST_OF_ADDRESS and not is_within(address, self.proxies):
            transport.abort()
            return
        if len(others) >= MOST_CONNECTIONS:
            idle = [connection for connection in others if connection.is_idle]
            if idle:
                min(idle, key=lambda connection: connection.last_data_s).transport.abort()
        self.last_data_s = self.loop.time()
        self._start_request_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_request_timer()
        self._stop_reading_timer()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Return whether the connection is not answering a complete request."""
        return self.cycle is None or self.cycle.response_complete or self.conn.their_state is h11.SEND_BODY

    def data_received(self, data: bytes) -> None:
        """Process received data. Data that arrive slowly do not extend the time for a request."""
        self.last_data_s = self.loop.time()
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self.conn.their_state is h11.SEND_BODY:
            self._start_request_timer()
        else:
            self._stop_request_timer()

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read the response."""
        super().pause_writing()
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(READING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer of a client that reads the response again."""
        self._stop_reading_timer()
        super().resume_writing()

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _start_request_timer(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None


def patient(proxies: Sequence[str]) -> type[PatientProtocol]:
    """Return the protocol class for a server behind proxies, which are given as addresses or networks."""
    return type("PatientBehindProxies", (PatientProtocol,), {"proxies": tuple(proxies)})


def is_within(host: str, networks: Sequence[str]) -> bool:
    """Return whether an address belongs to one of these networks or addresses; False for anything else.

    >>> is_within("10.0.0.7", ["10.0.0.0/8"]), is_within("unix", ["10.0.0.0/8"])
    (True, False)
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in ip_network(network, strict=False) for network in networks)


def _get_network(connection: Any) -> str:
    return network_of(connection.client[0] if connection.client else "")


def network_of(host: str) -> str:
    """Return the part of an address that one sender cannot vary: the IPv4 address, or the /64 network of IPv6.

    >>> network_of("192.0.2.7"), network_of("2001:db8:1:2:3::4"), network_of("unix")
    ('192.0.2.7', '2001:db8:1:2::', 'unix')
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
