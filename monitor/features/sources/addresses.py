"""Which servers may be connected to: those that the file names, at addresses of the open internet unless it says so."""

import ipaddress
import socket
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from monitor.api.errors import RefusedError

PORTS: Final = {"http": 80, "https": 443, "sftp": 22}
MOST_SHOWN: Final = 120


def split_address(url: str, schemes: Collection[str]) -> tuple[str, int]:
    """Host and port of an address; raises RefusedError where it is none of these schemes."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RefusedError(f"{url[:MOST_SHOWN]!r} is no address") from None
    if parts.scheme not in schemes or not host or parts.username or parts.password:
        raise RefusedError(f"{hide_query(url)}: expected {' or '.join(f'{s}://host/...' for s in schemes)}")
    return host, port or PORTS[parts.scheme]


def find_addresses(host: str, port: int, hosts: Collection[str], *, private: bool) -> list[str]:
    """The numeric addresses to connect to, in order; used as they are, so that no second look-up gives another.

    Raises:
        RefusedError: the host is not named, or one of its addresses is not open to it.
        OSError: it has no address.
    """
    if host.lower() not in {one.lower() for one in hosts}:
        raise RefusedError(f"host {host[:MOST_SHOWN]!r} is not the one of url: add it to hosts where it is right")
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not (private or is_public(address)):
            raise RefusedError(f"host {host!r} has the private address {address}: say private = true where it is right")
    if not found:
        raise OSError(f"host {host!r} has no address")
    return list(dict.fromkeys(found))


def is_public(address: str) -> bool:
    """Whether an address lies in the open internet.

    >>> [is_public(a) for a in ("134.197.1.1", "10.0.0.8", "127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1")]
    [True, False, False, False, False]
    >>> [is_public(a) for a in ("64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "fe80::1%eth0")]
    [False, False, False, False]
    """
    one = ipaddress.ip_address(address.partition("%")[0])
    inner = [one]
    if isinstance(one, ipaddress.IPv6Address):
        inner += [other for other in (one.ipv4_mapped, one.sixtofour) if other is not None]
        if one in _NAT64:
            inner.append(ipaddress.IPv4Address(int(one) & 0xFFFFFFFF))
    return all(each.is_global and not each.is_multicast for each in inner)


def hide_query(url: str) -> str:
    """An address as it may be shown: what stands behind `?` may be a secret."""
    return url.partition("?")[0].partition("#")[0][:MOST_SHOWN]


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
