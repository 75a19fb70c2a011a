"""What a request to the proxy asks for, and which hosts a model may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security.egress.proxy import HostRules, parse_connect


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"CONNECT example.com:443 HTTP/1.1", ("example.com", 443)),
        (b"CONNECT [2001:db8::1]:443 HTTP/1.0", ("2001:db8::1", 443)),
        (b"CONNECT 127.0.0.1:80 HTTP/1.1", ("127.0.0.1", 80)),
    ],
)
def test_connect(line, target):
    assert parse_connect(line + b"\r\nHost: x\r\n\r\n") == target


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"GET http://example.com/ HTTP/1.1",
        b"CONNECT example.com HTTP/1.1",
        b"CONNECT user:pass@example.com:443 HTTP/1.1",
        b"CONNECT example.com:443:80 HTTP/1.1",
        b"CONNECT example.com:443 HTTP/2",
        b"CONNECT  example.com:443 HTTP/1.1",
        b"connect example.com:443 HTTP/1.1",
        b"CONNECT a b:443 HTTP/1.1",
        b"",
    ],
)
def test_what_is_no_connect(line):
    with pytest.raises(ValueError, match=r"alone|https"):
        parse_connect(line + b"\r\n\r\n")


@given(st.binary(max_size=200))
def test_no_bytes_break_it(head):
    try:
        host, port = parse_connect(head)
    except ValueError:
        return
    assert host
    assert port >= 0


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        (HostRules(), "anything.example", True),
        (HostRules(never=frozenset({"db.internal"})), "DB.internal.", False),
        (HostRules(only=("hf.co",)), "hf.co", True),
        (HostRules(only=("hf.co",)), "HF.CO.", True),
        (HostRules(only=("hf.co",)), "cdn.hf.co", False),
        (HostRules(only=("*.hf.co",)), "cdn.hf.co", True),
        (HostRules(only=("*.hf.co",)), "hf.co", False),
        (HostRules(only=("*.hf.co",)), "evilhf.co", False),
        (HostRules(only=()), "hf.co", False),
        (HostRules(only=("db.internal",), never=frozenset({"db.internal"})), "db.internal", False),
    ],
)
def test_hosts(hosts, host, allowed):
    assert hosts.allow(host) is allowed
