"""Which IP addresses belong to the public internet.

Tables, and functions of addresses, because Python's `ipaddress` is no filter for this: `is_global` is true of
multicast, of 192.0.0.8 and of IPv6 addresses that carry private IPv4 ones. Must never resolve a name.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The IANA IPv4 special-purpose registry, rows within other rows left out, and multicast. Rows that IANA calls
# globally reachable (anycast of protocols, AS112 sinks) are refused too: no user's server is there.
SPECIAL_V4 = (
    IPv4Network("0.0.0.0/8"),  # this network
    IPv4Network("10.0.0.0/8"),  # private use
    IPv4Network("100.64.0.0/10"),  # shared address space of carriers
    IPv4Network("127.0.0.0/8"),  # loopback
    IPv4Network("169.254.0.0/16"),  # link local, where clouds keep their metadata service
    IPv4Network("172.16.0.0/12"),  # private use
    IPv4Network("192.0.0.0/24"),  # protocol assignments, DS-Lite, anycast of PCP and TURN, NAT64 discovery
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.31.196.0/24"),  # AS112
    IPv4Network("192.52.193.0/24"),  # AMT
    IPv4Network("192.88.99.0/24"),  # 6to4 and 6a44 relays, deprecated
    IPv4Network("192.168.0.0/16"),  # private use
    IPv4Network("192.175.48.0/24"),  # AS112
    IPv4Network("198.18.0.0/15"),  # benchmarking
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and limited broadcast
)

# The only IPv6 space ever allocated for global unicast. Everything else (loopback, IPv4-compatible, unique local,
# link and site local, multicast, discard, local NAT64, SRv6) falls outside it.
GLOBAL_V6 = IPv6Network("2000::/3")

# The rows of the IANA IPv6 special-purpose registry that lie within it. Teredo and 6to4 carry IPv4 addresses which a
# relay would unwrap on our side of the firewall; both are dead on the public internet, so all of them are refused.
SPECIAL_V6 = (
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, PCP, TURN, benchmarking, AMT, AS112, ORCHID, DETs
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("2620:4f:8000::/48"),  # AS112
    IPv6Network("3ffe::/16"),  # 6bone, returned
    IPv6Network("3fff::/20"),  # documentation
)

# RFC 6052: on an IPv6-only host the resolver answers for IPv4-only servers with these, so they must work.
NAT64 = IPv6Network("64:ff9b::/96")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Of a comma-separated list of CIDRs, which may be empty. Raises ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def unwrap(address: Address) -> Address:
    """The IPv4 address that a packet to a mapped or NAT64 address ends up at, or the address as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public_address(address: Address) -> bool:
    """Return whether an address belongs to the public internet. `address` is the result of `unwrap`."""
    if isinstance(address, IPv4Address):
        return not any(address in row for row in SPECIAL_V4)
    if address.scope_id is not None or address not in GLOBAL_V6:
        return False
    return not any(address in row for row in SPECIAL_V6)
