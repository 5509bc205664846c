"""How long the page waits for a browser: slow or silent connections end, so that they keep nobody else out."""

from asyncio import TimerHandle, Transport
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 15.0  # from the first byte, or from connecting, to the end of headers and body
READING_S: Final = 30.0  # that a client may leave an answer unread
OF_ONE_ADDRESS: Final = 40  # connections; a browser opens six
OF_ALL: Final = 150  # behind so many the one that has idled longest makes room


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with bounds on time and number; the proxies of the configuration may open more connections."""

    proxies: Sequence[str] = ()
    since_s = 0.0
    _request_timer: TimerHandle | None = None
    _reading_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take a connection, unless its address has too many."""
        super().connection_made(transport)
        mine = _address(self)
        ours = [one for one in self.connections if isinstance(one, PatientProtocol) and one is not self]
        others = [one for one in ours if not one.transport.is_closing()]
        if not is_within(mine, self.proxies) and sum(_address(one) == mine for one in others) >= OF_ONE_ADDRESS:
            transport.abort()
            return
        idle = [one for one in others if one.is_idle] if len(others) >= OF_ALL else []
        if idle:
            min(idle, key=lambda one: one.since_s).transport.abort()
        self.since_s = self.loop.time()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_request_timer()
        self._stop_reading_timer()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no complete request is being answered."""
        return self.cycle is None or self.cycle.response_complete or self.conn.their_state is h11.SEND_BODY

    def data_received(self, data: bytes) -> None:
        """Take what came; trickling bytes give no more time."""
        self.since_s = self.loop.time()
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self.conn.their_state is h11.SEND_BODY:
            self._expect_request()
        else:
            self._stop_request_timer()

    def pause_writing(self) -> None:
        """The client does not read: give it a while."""
        super().pause_writing()
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(READING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        self._stop_reading_timer()
        super().resume_writing()

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _expect_request(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None


def patient(proxies: Sequence[str]) -> type[PatientProtocol]:
    """The protocol for a server behind these proxies, addresses or networks."""
    return type("PatientBehindProxies", (PatientProtocol,), {"proxies": tuple(proxies)})


def is_within(host: str, networks: Sequence[str]) -> bool:
    """Whether an address is one of these, or lies in one of these networks.

    >>> is_within("10.0.0.7", ["10.0.0.0/8"]), is_within("unix", ["10.0.0.0/8"])
    (True, False)
    """
    try:
        found = ip_address(host)
    except ValueError:
        return False
    return any(found in ip_network(network, strict=False) for network in networks)


def _address(connection: Any) -> str:
    """Whose connection it is: an IPv4 address, or the network of an IPv6 one, which one machine may have whole."""
    return network_of(connection.client[0] if connection.client else "")


def network_of(host: str) -> str:
    """The part of an address that one sender cannot vary at will.

    >>> network_of("192.0.2.7"), network_of("2001:db8:1:2:3::4"), network_of("unix")
    ('192.0.2.7', '2001:db8:1:2::', 'unix')
    """
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)
