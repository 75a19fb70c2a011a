"""Which address a request comes from, as far as it can be believed. Pure.

What a client writes into X-Forwarded-For is worth nothing; what a proxy of ours appended to it is.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from tidemill.security.egress.addresses import Network, parse_networks

HOPS_LIMIT: Final = 10  # proxies in a row; the rest of a long header is somebody's joke
IPV6_PREFIX: Final = 64  # what one subscriber has at least, and can take new addresses of at will
# Who comes from here and forwards for others is a proxy, told of or not.
LOCAL: Final = parse_networks("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7, fe80::/10")


def client_address(peer: str | None, forwarded_for: str | None, proxies: Sequence[Network]) -> str | None:
    """The client's address, or its network for IPv6. None when it cannot be told apart from others: the peer is this
    machine, or forwards from a local network, which may be a proxy that nobody told us about; or it is a proxy that
    names no client.
    """
    hops = [each.strip() for each in (forwarded_for or "").split(",")][-HOPS_LIMIT:] if forwarded_for else []
    for nth, hop in enumerate([peer, *reversed(hops)]):
        address = _address(hop)
        if address is None:
            return None
        if any(address in network for network in proxies):
            continue
        if address.is_loopback or (nth == 0 and hops and any(address in network for network in LOCAL)):
            return None
        return str(ip_network((address, IPV6_PREFIX), strict=False)) if address.version == 6 else str(address)
    return None


def _address(hop: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(hop or "")
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
