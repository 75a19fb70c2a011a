"""Which address a request comes from, as far as it can be believed. Pure.

What a client writes into X-Forwarded-For is worth nothing; what a proxy of ours appended to it is.
"""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Networks = tuple[IPv4Network | IPv6Network, ...]

HOPS_LIMIT: Final = 10  # proxies in a row; the rest of a long header is somebody's joke
IPV6_PREFIX: Final = 64  # what one subscriber has at least, and can take new addresses of at will


def networks(text: str) -> Networks:
    """Of a comma-separated list. Raises ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def client(peer: str | None, forwarded_for: str | None, proxies: Networks) -> str | None:
    """The client's address, or its network for IPv6. None when it cannot be told apart from others: the peer is this
    machine, which may be a proxy that nobody told us about, or a proxy that names no client.
    """
    hops = [each.strip() for each in (forwarded_for or "").split(",")][-HOPS_LIMIT:] if forwarded_for else []
    for hop in [peer, *reversed(hops)]:
        try:
            address = ip_address(hop or "")
        except ValueError:
            return None
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in proxies):
            continue
        if address.is_loopback:
            return None
        return str(ip_network((address, IPV6_PREFIX), strict=False)) if address.version == 6 else str(address)
    return None
