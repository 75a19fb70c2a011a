import pytest

from tidemill.gateway.access import address_rates as addresses_module
from tidemill.gateway.access.address_rates import AddressRateLimiter
from tidemill.gateway.access.client_address import client_address
from tidemill.gateway.limits.gcra import Rate
from tidemill.security.egress.addresses import parse_networks


def test_an_address_that_comes_often_waits_and_is_forgiven():
    addresses = AddressRateLimiter(Rate(per_minute=30, burst=30))
    assert not addresses
    for _ in range(30):
        assert addresses.retry_in_s("1.2.3.4", 0.0) == 0
        assert addresses.take("1.2.3.4", 0.0) == 0
    assert addresses.retry_in_s("1.2.3.4", 0.0) == pytest.approx(2)
    assert addresses.take("1.2.3.4", 0.0) == pytest.approx(2)
    assert addresses.retry_in_s("5.6.7.8", 0.0) == 0
    assert addresses.retry_in_s("1.2.3.4", 2.0) == 0
    assert addresses.take("1.2.3.4", 2.0) == 0
    assert addresses.retry_in_s("1.2.3.4", 2.0) > 0
    assert addresses.retry_in_s("1.2.3.4", 1000.0) == 0
    assert not addresses


def test_a_flood_of_addresses_is_not_remembered_for_ever(monkeypatch):
    monkeypatch.setattr(addresses_module, "ADDRESSES_LIMIT", 10)
    addresses = AddressRateLimiter(Rate(per_minute=30, burst=30))
    for n in range(100):
        addresses.take(str(n), 0.0)
        assert len(addresses._full_at) <= 10


PROXIES = parse_networks("10.0.0.0/8, 127.0.0.1, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("203.0.113.9", None, PROXIES, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", PROXIES, "203.0.113.9"),  # a client's own words
        ("10.0.0.1", "198.51.100.1", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.2.2.2", PROXIES, "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1", PROXIES, "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1", (), None),  # a proxy that nobody told of, or this machine
        ("192.168.1.2", "198.51.100.1", PROXIES, None),  # likewise, on another machine of ours
        ("192.168.1.2", None, PROXIES, "192.168.1.2"),
        ("127.0.0.1", None, PROXIES, None),
        ("10.0.0.1", "nonsense", PROXIES, None),
        ("10.0.0.1", "10.0.0.2", PROXIES, None),
        ("::1", None, (), None),
        ("::ffff:203.0.113.9", None, (), "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", None, (), "2001:db8:1:2::/64"),
        ("fd00::1", "2001:db8::1", PROXIES, "2001:db8::/64"),
        (None, None, (), None),
        ("", "", (), None),
    ],
)
def test_the_address_of_a_client(peer, forwarded, proxies, address):
    assert client_address(peer, forwarded, proxies) == address


def test_a_network_that_is_none():
    with pytest.raises(ValueError):
        parse_networks("10.0.0.0/8,proxy.example")
