"""Which address a request comes from, as far as it can be trusted. Pure.

Only the part of `X-Forwarded-For` that a trusted proxy appended counts; clients can write anything before it.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from tidemill.security.egress.addresses import Network, parse_networks

HOPS_LIMIT: Final = 10  # proxies in a row; the rest of a longer header is ignored
IPV6_PREFIX: Final = 64  # one subscriber has at least this network, and can change its address within it at will
# A peer with one of these addresses that forwards requests is a proxy, also when it is not configured as trusted.
LOCAL: Final = parse_networks("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7, fe80::/10")


def client_address(peer: str | None, forwarded_for: str | None, proxies: Sequence[Network]) -> str | None:
    """Return the client's address, or its network for IPv6.

    None when the client cannot be told apart from others: the peer is this machine, forwards from a local network (it
    may be a proxy that is not configured), or is a trusted proxy that names no client.
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
