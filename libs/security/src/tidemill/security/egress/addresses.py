"""Which IP addresses belong to the public internet.

Python's `ipaddress` is not sufficient: `is_global` is true for multicast, for 192.0.0.8 and for IPv6 addresses that
contain private IPv4 ones. Must never resolve a name.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The IANA IPv4 special-purpose registry, without rows inside other rows, and multicast. Rows that IANA calls globally
# reachable (anycast of protocols, AS112 sinks) are refused too, because no user's server is there.
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

# The rows of the IANA IPv6 special-purpose registry inside it. Teredo and 6to4 contain IPv4 addresses that a relay
# would unwrap on our side of the firewall; both are unused on the public internet, so all of them are refused.
SPECIAL_V6 = (
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, PCP, TURN, benchmarking, AMT, AS112, ORCHID, DETs
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("2620:4f:8000::/48"),  # AS112
    IPv6Network("3ffe::/16"),  # 6bone, returned
    IPv6Network("3fff::/20"),  # documentation
)

# RFC 6052: on an IPv6-only host the resolver returns these for IPv4-only servers, so they must work.
NAT64 = IPv6Network("64:ff9b::/96")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse a comma-separated list of CIDRs, which may be empty. Raise ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def unwrap(address: Address) -> Address:
    """Return the IPv4 address that a mapped or NAT64 address leads to, or the address itself."""
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
