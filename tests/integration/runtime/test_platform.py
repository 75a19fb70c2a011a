"""What is the platform's own is found out from what is configured and from what runs."""

import asyncio
import socket
from ipaddress import ip_address

import psutil
import pytest

from tidemill.runtime import service_endpoints
from tidemill.runtime.config import Common
from tidemill.runtime.db import Database
from tidemill.runtime.platform import ListenerScan, Platform
from tidemill.runtime.service import Service
from tidemill.runtime.service_endpoints import addresses_here, publish_endpoints
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.stack import NatsServer, ObjectServer
from tidemill.testing.running import until
from tidemill.testing.servers import configured, migrated, started


@pytest.fixture
async def postgres(tmp_path):
    async with migrated(tmp_path / "postgres") as server:
        yield server


def everything(platform):
    return EgressPolicy(allow=AllowList.parse("0.0.0.0/0, ::/0"), reserved=platform.reserved, allow_http=True)


def listened(server):
    return {
        each.laddr.port
        for pid in server.process.pids()
        for each in psutil.Process(pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }


async def test_every_port_of_the_embedded_servers_is_refused_at_every_address_of_this_machine(tmp_path, postgres):
    """The configuration names one port of each; the filer, the master, gRPC and whatever comes are found out."""
    async with started(NatsServer(tmp_path / "nats")) as nats, started(ObjectServer(tmp_path / "objects")) as objects:
        platform = Platform([postgres.url, nats.url, objects.url])
        await platform.look_up()
        policy = everything(platform)
        ports = listened(postgres) | listened(nats) | listened(objects)
        assert len(ports) > len([postgres, nats, objects])
        spellings = ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "0.0.0.0"]
        spellings += [str(each) for each in addresses_here() if not each.is_link_local]
        for port in ports:
            for spelling in spellings:
                assert not policy.permits(spelling, port), (spelling, port)
                assert not policy.permits_named(spelling, port), (spelling, port)
        with socket.create_server(("127.0.0.1", 0)) as receiver:
            assert policy.permits("127.0.0.1", receiver.getsockname()[1])
        await objects.kill()
        await platform.look_up()
        assert not any(policy.permits("127.0.0.1", port) for port in ports)
        with socket.create_server(("127.0.0.1", 0)) as receiver:
            assert policy.permits("127.0.0.1", receiver.getsockname()[1])


@pytest.fixture
def scans(monkeypatch):
    """One entry for each look at the descriptors of all processes."""
    made = []
    look = psutil.net_connections

    def counted(kind):
        made.append(kind)
        return look(kind)

    monkeypatch.setattr(psutil, "net_connections", counted)
    return made


def port_of(listener):
    return listener.getsockname()[1]


def test_processes_are_scanned_again_only_when_another_socket_listens(scans):
    # Other tests' sockets come and go beside these and cause scans of their own: one look in fifty without is enough.
    scan = ListenerScan()
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = frozenset({port_of(server)})
        assert port_of(server) in scan.seen(ports).owned[port_of(server)]
        made = [_scans_of(scan, ports, scans) for _ in range(50)]
        assert 0 in made
        with socket.create_server(("127.0.0.1", 0)) as second:
            port = port_of(second)
            assert port in scan.seen(ports).owned[port_of(server)]
        assert port not in scan.seen(ports).owned[port_of(server)]


def _scans_of(scan, ports, scans):
    before = len(scans)
    scan.seen(ports)
    return len(scans) - before


def test_a_server_whose_process_was_not_seen_is_looked_for_again(monkeypatch):
    scan, look = ListenerScan(), psutil.net_connections
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = frozenset({port_of(server)})
        monkeypatch.setattr(psutil, "net_connections", lambda kind: [each._replace(pid=None) for each in look(kind)])
        assert not scan.seen(ports).owned
        monkeypatch.setattr(psutil, "net_connections", look)
        assert port_of(server) in scan.seen(ports).owned[port_of(server)]


async def test_what_services_listen_on_is_known_to_all_until_they_have_been_gone_for_long(postgres, monkeypatch):
    async with Database(postgres.url) as database:
        service = Service("gateway", configured(Common, postgres))
        publish_endpoints(service, database)
        running = asyncio.create_task(service.run(), name="gateway")
        platform = Platform.of([postgres.url], "http://127.0.0.1:1", database)
        policy = everything(platform)
        await until("its listener", lambda: service_endpoints.load_endpoints(database))
        await platform.look_up()
        ((address, port),) = service.listens
        assert not policy.permits(str(address), port)
        assert not policy.permits("127.0.0.2", port)
        assert not policy.permits("127.0.0.1", 1)  # the gateway's public URL
        service.stopping.set()
        assert await running == 0
        monkeypatch.setattr(service_endpoints, "LISTENER_LIFE_S", 0.0)
        await platform.look_up()
        assert policy.permits(str(address), port)


async def test_a_listener_at_the_wildcard_is_told_with_each_address_of_its_machine(postgres):
    async with Database(postgres.url) as database:
        await service_endpoints.record_endpoints(database, "gateway", [(ip_address("0.0.0.0"), 8300)])
        assert set(await service_endpoints.load_endpoints(database)) == {(each, 8300) for each in addresses_here()}


async def test_a_name_that_leads_elsewhere_now_is_followed_and_one_that_is_lost_keeps_its_address(monkeypatch):
    answers = {"store.lan": "10.0.0.7"}

    async def getaddrinfo(name, *_args, **_more):
        if name not in answers:
            raise OSError("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[name], 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    platform = Platform(["https://store.lan:8333"])
    policy = everything(platform)
    await platform.look_up()
    assert not policy.permits("10.0.0.7", 8333)
    answers["store.lan"] = "10.0.0.8"
    await platform.look_up()
    assert policy.permits("10.0.0.7", 8333)
    assert not policy.permits("10.0.0.8", 8333)
    answers.clear()
    await platform.look_up()
    assert not policy.permits("10.0.0.8", 8333)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql://me:secret@127.0.0.1/db", 5432),
        ("nats://127.0.0.1", 4222),
        ("nats://127.0.0.9:9,nats://me:secret@127.0.0.1:4333", 4333),
        ("https://127.0.0.1", 443),
        ("http://127.0.0.1:9000", 9000),
    ],
)
async def test_a_server_is_known_by_its_url_with_the_port_of_its_scheme(url, port):
    platform = Platform([url])
    await platform.look_up()
    assert port in platform.reserved().local_ports
