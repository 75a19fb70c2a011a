"""What is the platform's own stays refused, whatever the operator lists."""

from ipaddress import ip_address

import pytest

from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.egress.reserved_endpoints import ReservedEndpoints

LAN = ip_address("192.168.7.5")
STORE, FILER, BESIDE, OTHER = 8333, 8888, 9999, 3000
AT_LOOPBACK = [(ip_address("127.0.0.1"), STORE)]
SPELLINGS = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "::1", "::"]
SPELLINGS += ["::ffff:127.0.0.1", "64:ff9b::7f00:1", str(LAN), f"::ffff:{LAN}"]


def policy(
    reserved: ReservedEndpoints, allow: str = "0.0.0.0/0, ::/0, hooks.lan, store.lan:8333, hooks.lan:3000"
) -> EgressPolicy:
    return EgressPolicy(allow=AllowList.parse(allow), reserved=lambda: reserved, allow_http=True)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("port", [STORE, FILER])
def test_a_port_of_the_platform_is_refused_at_every_address_of_its_machine(spelling: str, port: int) -> None:
    """Also where it is listed with the port: a server listens at more addresses than it is configured by."""
    reserved = ReservedEndpoints.of([LAN], AT_LOOPBACK, owned={STORE: {STORE, FILER}})
    both = policy(reserved), policy(reserved, f"0.0.0.0/0:{port}, [::/0]:{port}, hooks.lan:{port}")
    for each in both:
        assert not each.permits(spelling, port)
        assert not each.permits_listed(spelling, port)
        assert not each.permits_named(spelling, port)
        assert each.permits(spelling, OTHER) is (each is both[0])


def test_a_listed_receiver_beside_the_platform_is_reached() -> None:
    reserved = ReservedEndpoints.of([LAN], AT_LOOPBACK, owned={STORE: {STORE, FILER}})
    for spelling in ("127.0.0.1", "127.0.0.2", "::1", str(LAN)):
        assert policy(reserved).permits(spelling, OTHER)


def test_where_a_servers_other_ports_are_not_seen_an_entry_names_the_port() -> None:
    """Its process is another user's: a filer or a monitor may listen anywhere on this machine."""
    reserved = ReservedEndpoints.of([LAN], AT_LOOPBACK)
    assert not policy(reserved).permits("127.0.0.1", FILER)
    assert not policy(reserved).permits(str(LAN), FILER)
    named = policy(reserved, f"127.0.0.0/8:{OTHER}, 127.0.0.1/32:{STORE}, hooks.lan:{OTHER}")
    assert named.permits("127.0.0.1", OTHER)
    assert not named.permits("127.0.0.1", STORE)


def test_ports_of_other_processes_of_a_servers_program_want_to_be_named() -> None:
    reserved = ReservedEndpoints.of([], AT_LOOPBACK, owned={STORE: {STORE}}, uncertain_ports={BESIDE})
    assert not policy(reserved).permits("127.0.0.1", BESIDE)
    assert policy(reserved, f"127.0.0.1:{BESIDE}").permits("127.0.0.1", BESIDE)


def test_a_server_elsewhere_is_refused_and_so_are_its_other_ports_unless_named() -> None:
    away = ip_address("10.0.0.7")
    reserved = ReservedEndpoints.of([LAN], [(away, STORE)])
    assert not policy(reserved).permits(str(away), STORE)
    assert not policy(reserved).permits_named(str(away), STORE)
    assert not policy(reserved).permits(str(away), OTHER)
    assert not policy(reserved).permits_listed(str(away), OTHER)
    assert policy(reserved, f"10.0.0.0/8:{OTHER}").permits(str(away), OTHER)
    assert policy(reserved).permits("10.0.0.8", STORE)
    assert policy(reserved).permits("127.0.0.1", OTHER)


def test_what_services_say_they_listen_on_is_refused_and_leaves_their_machines_open() -> None:
    gateway = ip_address("10.0.0.9")
    told = [(gateway, 9100), (ip_address("127.0.0.1"), 9200), (LAN, 9300)]
    reserved = ReservedEndpoints.of([LAN], AT_LOOPBACK, owned={STORE: {STORE}}).with_listeners(told)
    now = policy(reserved)
    assert not now.permits(str(gateway), 9100)
    assert now.permits(str(gateway), OTHER)
    for port in (9200, 9300):
        assert not now.permits("127.0.0.1", port)
        assert not now.permits(str(LAN), port)
    assert now.permits("127.0.0.1", OTHER)


def test_the_public_internet_is_reached_though_a_server_of_ours_is_there() -> None:
    """An S3 store in a cloud serves others at the same address: anybody may ask it, and it asks for its keys."""
    reserved = ReservedEndpoints.of([], [(ip_address("52.218.0.1"), 443)])
    assert policy(reserved, "").permits("52.218.0.1", 443)
    assert not policy(reserved, "52.218.0.0/16").permits("52.218.0.1", 9000)


def test_urls_that_lead_to_the_platform_are_refused_before_anything_is_looked_up() -> None:
    reserved = ReservedEndpoints.of([LAN], AT_LOOPBACK, owned={STORE: {STORE, FILER}})
    refused = [f"http://127.0.0.1:{FILER}/x", f"http://[::ffff:7f00:1]:{FILER}/", f"http://{LAN}:{STORE}/"]
    for url in refused:
        with pytest.raises(Exception, match="its address or port is not allowed"):
            policy(reserved).target(url)
    policy(reserved).target(f"http://127.0.0.1:{OTHER}/x")
