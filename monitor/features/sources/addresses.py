"""Check addresses of servers: allowed hosts only, and private networks only if the service file allows them."""

import ipaddress
import socket
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from monitor.api.errors import RefusedError

PORTS: Final = {"http": 80, "https": 443, "sftp": 22}
MAX_SHOWN_LENGTH: Final = 120
# Prefix of IPv6 addresses that contain an IPv4 address (RFC 6052).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def split_address(url: str, schemes: Collection[str]) -> tuple[str, int]:
    """Return host and port of an address.

    Raises:
        RefusedError: It is no address with one of these schemes, or contains a login.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RefusedError(f"{url[:MAX_SHOWN_LENGTH]!r} is no address") from None
    if parts.scheme not in schemes or not host or parts.username or parts.password:
        raise RefusedError(f"{hide_query(url)}: expected {' or '.join(f'{s}://host/...' for s in schemes)}")
    return host, port or PORTS[parts.scheme]


def find_addresses(host: str, port: int, allowed_hosts: Collection[str], *, allow_private: bool) -> list[str]:
    """Resolve a host and return its numeric addresses in order.

    The caller connects to these addresses, so that a second resolution cannot return another one.

    Raises:
        RefusedError: The host is not allowed, or one of its addresses belongs to a private network.
        OSError: The host has no address.
    """
    if host.lower() not in {allowed.lower() for allowed in allowed_hosts}:
        raise RefusedError(f"host {host[:MAX_SHOWN_LENGTH]!r} is not the one of url: add it to hosts where it is right")
    addresses = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in addresses:
        if not (allow_private or is_public(address)):
            raise RefusedError(f"host {host!r} has the private address {address}: say private = true where it is right")
    if not addresses:
        raise OSError(f"host {host!r} has no address")
    return list(dict.fromkeys(addresses))


def is_public(text: str) -> bool:
    """Return whether an address belongs to the public internet. IPv4 addresses inside IPv6 addresses are checked too.

    >>> [is_public(a) for a in ("134.197.1.1", "10.0.0.8", "127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1")]
    [True, False, False, False, False]
    >>> [is_public(a) for a in ("64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "fe80::1%eth0")]
    [False, False, False, False]
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    addresses = [address]
    if isinstance(address, ipaddress.IPv6Address):
        embedded = (address.ipv4_mapped, address.sixtofour)
        addresses += [inner for inner in embedded if inner is not None]
        if address in _NAT64:
            addresses.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return all(each.is_global and not each.is_multicast for each in addresses)


def hide_query(url: str) -> str:
    """Return an address for messages: without the query, which may contain a secret, and shortened."""
    return url.partition("?")[0].partition("#")[0][:MAX_SHOWN_LENGTH]
