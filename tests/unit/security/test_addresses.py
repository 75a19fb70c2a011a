from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security.egress.addresses import SPECIAL_V4, unwrap
from tidemill.security.egress.policy import EgressPolicy

# Every row of https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast, which has its own registry.
IANA_V4 = [
    "0.0.0.0/8",
    "0.0.0.0/32",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.88.99.2/32",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "224.0.0.0/4",
]

# The same for IPv6, with site local (deprecated) and multicast. The row of mapped addresses and that of NAT64 are
# tested by what they carry.
IANA_V6 = [
    "::1/128",
    "::/128",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]

PUBLIC_V4 = "1.1.1.1 8.8.8.8 93.184.216.34 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0"
PUBLIC_V4 += " 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255"
PUBLIC_V4 += " 198.20.0.0 223.255.255.255 169.253.255.255 169.255.0.0"
PUBLIC_V6 = (
    "2001:200:: 2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001:829::200e 2620:4f:8001:: 3ffd::1 2003::"
)


def ends(row: str) -> tuple[str, str, str]:
    network = ip_network(row)
    middle = network[network.num_addresses // 2]
    return str(network[0]), str(middle), str(network[-1])


def is_public(ip: str) -> bool:
    """As sockets to it are judged."""
    return EgressPolicy().permits(ip, 443)


@pytest.mark.parametrize("row", IANA_V4 + IANA_V6)
def test_no_row_of_the_special_registries_is_public(row: str) -> None:
    assert not any(is_public(each) for each in ends(row))


@pytest.mark.parametrize("ip", (PUBLIC_V4 + " " + PUBLIC_V6).split())
def test_the_neighbours_of_the_rows_and_well_known_servers_are_public(ip: str) -> None:
    assert is_public(ip)


def carriers(v4: IPv4Address) -> dict[str, str]:
    n = int(v4)
    return {
        "mapped": str(IPv6Address((0xFFFF << 32) | n)),
        "nat64": str(IPv6Address((0x64FF9B << 96) | n)),
        "compatible": str(IPv6Address(n)),
        "6to4": str(IPv6Address((0x2002 << 112) | (n << 80) | 1)),
        "teredo client": str(IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | (n ^ 0xFFFFFFFF))),
        "teredo server": str(IPv6Address((0x20010000 << 96) | (n << 64) | (0x08080808 ^ 0xFFFFFFFF))),
        "local nat64": str(IPv6Address((0x64FF9B0001 << 80) | n)),
        "translated": str(IPv6Address((0xFFFF << 48) | n)),
    }


@pytest.mark.parametrize("row", IANA_V4)
def test_no_special_address_is_public_inside_an_ipv6_one(row: str) -> None:
    for end in ends(row):
        verdicts = {form: is_public(ip) for form, ip in carriers(IPv4Address(end)).items()}
        assert not any(verdicts.values()), verdicts


def test_a_public_address_counts_only_where_the_form_is_alive() -> None:
    verdicts = {form: is_public(ip) for form, ip in carriers(IPv4Address("8.8.8.8")).items()}
    assert {form for form, verdict in verdicts.items() if verdict} == {"mapped", "nat64"}


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_a_mapped_address_is_as_public_as_itself(v4: IPv4Address) -> None:
    forms = carriers(v4)
    assert is_public(forms["mapped"]) == is_public(forms["nat64"]) == is_public(str(v4))
    assert is_public(str(v4)) == (not any(v4 in row for row in SPECIAL_V4))
    assert unwrap(ip_address(forms["mapped"])) == v4


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_what_is_public_in_ipv6_is_global_unicast(v6: IPv6Address) -> None:
    if is_public(str(v6)):
        assert v6 in IPv6Network("2000::/3") or v6.ipv4_mapped or v6 in IPv6Network("64:ff9b::/96")


@pytest.mark.parametrize(
    "text",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "8.8.2056",
        "134744072",
        "0x08080808",
        "010.8.8.8",
        "8.8.8.08",
        "8.8.8.8.8",
        "8.8.8",
        "256.8.8.8",
        "8.8.8.8:80",
        "[2606:4700::1]",
        "2606:4700::1%eth0",
        "2606:4700::1%1",
        "localhost",
        "example.com",
        "::ffff:08.8.8.8",
        "2606:4700:::1",
        "8.8.8.8/32",
        "",
        " 8.8.8.8",
        "8.8.8.8\n",
        "8.8.8.8\x00",
        "\uff18.8.8.8",
    ],
)
def test_what_is_no_canonical_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@given(st.text())
def test_any_text_can_be_judged(text: str) -> None:
    is_public(text)
