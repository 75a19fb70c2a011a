import socket
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from tidemill.security.egress import errors
from tidemill.security.egress.client import AddressInfo, guarded_socket_factory
from tidemill.security.egress.errors import AddressRefused, EgressError, translate_errors
from tidemill.security.egress.policy import AllowList, EgressPolicy

V4, V6 = socket.AF_INET, socket.AF_INET6
KEY = ConnectionKey("secret-host.internal", 5432, False, True, None, None, None)


def info(family: int, *address: str | int) -> AddressInfo:
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the factory would have made: unit tests open no sockets."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(socket, "socket", lambda *args: calls.append(args))
    return calls


@pytest.mark.parametrize(
    "refused",
    [
        info(V4, "127.0.0.1", 80),
        info(V4, "169.254.169.254", 80),
        info(V4, "10.0.0.1", 443),
        info(V4, "8.8.8.8", 22),
        info(V4, "8.8.8.8", 0),
        info(V6, "::1", 80, 0, 0),
        info(V6, "::ffff:127.0.0.1", 80, 0, 0),
        info(V6, "::ffff:7f00:1", 80, 0, 0),
        info(V6, "64:ff9b::7f00:1", 80, 0, 0),
        info(V6, "2002:7f00:1::", 80, 0, 0),
        info(V6, "fe80::1%eth0", 80, 0, 2),
        info(V4, "127.1", 80),
        info(V4, "localhost", 80),
        info(V4, "", 80),
        info(socket.AF_UNIX, "/var/run/docker.sock", 80),
    ],
)
def test_no_socket_is_made_for_a_refused_address(refused: AddressInfo, made: list[tuple[object, ...]]) -> None:
    with pytest.raises(AddressRefused):
        guarded_socket_factory(EgressPolicy().permits)(refused)
    assert made == []


@pytest.mark.parametrize("permitted", [info(V4, "8.8.8.8", 443), info(V6, "2606:4700:4700::1111", 80, 0, 0)])
def test_a_socket_is_made_for_a_permitted_address(permitted: AddressInfo, made: list[tuple[object, ...]]) -> None:
    guarded_socket_factory(EgressPolicy().permits)(permitted)
    assert made == [permitted[:3]]


def test_the_gate_of_listed_hosts_still_asks(made: list[tuple[object, ...]]) -> None:
    policy = EgressPolicy(allow=AllowList.parse("hooks.lan"))
    guarded_socket_factory(policy.permits_listed)(info(V4, "10.0.0.1", 9000))
    assert len(made) == 1
    with pytest.raises(AddressRefused):
        guarded_socket_factory(policy.permits_listed)(info(V4, "nonsense", 9000))


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (TimeoutError("10.0.0.7"), errors.EgressTimeout, "timed out"),
        (aiohttp.ConnectionTimeoutError("10.0.0.7"), errors.EgressTimeout, "timed out"),
        (aiohttp.ClientConnectorError(KEY, AddressRefused()), errors.EgressDenied, "not allowed"),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "10.0.0.7")), errors.EgressFailed, "connected"),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(1, "10.0.0.7")), errors.EgressFailed, "resolve"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "10.0.0.7")), errors.EgressFailed, "TLS"),
        (aiohttp.InvalidURL("http://10.0.0.7"), errors.EgressDenied, "malformed"),
        (aiohttp.ServerDisconnectedError("10.0.0.7"), errors.EgressFailed, "broke off"),
        (aiohttp.ClientPayloadError("10.0.0.7"), errors.EgressFailed, "broke off"),
        (ConnectionResetError("10.0.0.7"), errors.EgressFailed, "broke off"),
        (ValueError("10.0.0.7"), errors.EgressFailed, "broke off"),
    ],
)
def test_errors_are_typed_and_tell_nothing_of_our_network(raised: Exception, kind: type, words: str) -> None:
    with pytest.raises(EgressError) as caught, translate_errors():
        raise raised
    assert type(caught.value) is kind
    assert words in str(caught.value)
    for secret in ("10.0.0.7", "secret-host", "5432"):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), translate_errors():
        raise ZeroDivisionError
