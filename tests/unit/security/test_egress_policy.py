from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security.egress.addresses import parse_networks
from tidemill.security.egress.errors import EgressDenied
from tidemill.security.egress.policy import MAX_URL_CHARS, AllowList, EgressPolicy, check_url_form

STRICT = EgressPolicy()
OPEN = EgressPolicy(allow_http=True)

LOOPBACK_FORMS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "0x7F.0.0.1",
    "0177.0.0.1",
    "0177.1",
    "127.0.0.1.",
    "127.1.",
    "2130706433.",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127.0.0.0x1",
    "127.0.0.256",
    "0x",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[ff02::1]",
    "[::1%25lo]",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "192.0.0.8",
    "224.0.0.1",
    "255.255.255.255",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "⅟.0.0.1",
    "1\uff127.0.0.1",
]


@pytest.mark.parametrize("host", LOOPBACK_FORMS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_form_of_an_inner_address_passes(scheme: str, host: str) -> None:
    with pytest.raises(EgressDenied):
        OPEN.target(f"{scheme}://{host}/x")


@pytest.mark.parametrize(
    "url",
    [
        "//example.com/",
        "/etc/passwd",
        "example.com",
        "example.com:80",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com:80/",
        "data:text/plain,x",
        "javascript:alert(1)",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "ws://example.com/",
        "jar:http://h/x",
        "http://",
        "http:///",
        "http:///x",
        "http:example.com",
        "http:/example.com",
        "http://:80/",
        "http://?x",
        "http://#x",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://:pass@example.com/",
        "http://@example.com/",
        "http://:@example.com/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1:80@example.com/",
        "HTTP://u@example.com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:99999/",
        "http://example.com:-1/",
        "http://example.com:x/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com\\.evil/",
        "http://[::1",
        "http://::1/",
        "http://[::1]x/",
        "http://[g::1]/",
        "http://-example.com/",
        "http://a..b/",
        "http://.a.b/",
        "http://a.b../",
        "http://*.example.com/",
        "http://exa%6dple.com/",
        "http://example.com%00.evil.com/",
        "http://exam|ple.com/",
        "http://a,b/",
        "http://a;b/",
    ],
)
def test_malformed_and_foreign_urls_are_refused(url: str) -> None:
    with pytest.raises(EgressDenied):
        OPEN.target(url)
    with pytest.raises(EgressDenied):
        check_url_form(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "https://[::1]:8443/x?y=1", "https://\u00fc.example/"])
def test_the_form_alone_says_nothing_of_where_a_url_leads(url: str) -> None:
    check_url_form(url)


@pytest.mark.parametrize("char", ["\r", "\n", "\t", "\x00", " ", "\x7f", "\x85", "\u00a0", "\r\nHost: evil\r\n"])
@pytest.mark.parametrize(
    "form", ["{}http://example.com/", "http://exa{}mple.com/", "http://example.com/{}", "http:{}//e.com/"]
)
def test_white_space_and_control_characters_are_refused(form: str, char: str) -> None:
    with pytest.raises(EgressDenied):
        OPEN.target(form.format(char))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/",
        "https://EXAMPLE.com:443/x?y=1",
        "https://8.8.8.8/",
        "https://münchen.de/",
        "https://[2606:4700:4700::1111]/",
        "https://[::ffff:8.8.8.8]/",
        "https://a_b.example.com./",
        "https://h?x",
        "HTTPS://h/",
    ],
)
def test_ordinary_urls_pass(url: str) -> None:
    assert not STRICT.target(url).listed


def test_plain_http_is_a_setting() -> None:
    assert OPEN.target("http://example.com/x").url.scheme == "http"
    with pytest.raises(EgressDenied, match="not https"):
        STRICT.target("http://example.com/x")


def test_a_long_url_is_refused_and_the_longest_passes() -> None:
    url = "https://example.com/".ljust(MAX_URL_CHARS, "x")
    OPEN.target(url)
    with pytest.raises(EgressDenied, match="longer"):
        OPEN.target(url + "x")


@pytest.mark.parametrize(
    "url",
    [
        "https://h.com/a%2Fb?sig=%2F%3A%2B+%3d&x=/:~",
        "https://h.com:443/?u=https%3A%2F%2Fx%20y",
        "https://h.com/%7Euser/%2e%2e/x",
    ],
)
def test_a_url_that_needs_no_quoting_is_sent_to_the_byte(url: str) -> None:
    assert OPEN.target(url).url.raw_path_qs == url.split("h.com", 1)[1].removeprefix(":443")


def test_other_urls_are_quoted() -> None:
    assert str(OPEN.target("https://h.com/ü?x=ä|").url) == "https://h.com/%C3%BC?x=%C3%A4%7C"


@given(st.text())
def test_any_text_passes_or_is_denied(text: str) -> None:
    for url in (text, f"http://{text}/", f"http://h.com/{text}", f"http://h.com:{text}"):
        try:
            target = OPEN.target(url)
        except EgressDenied:
            continue
        assert target.url.scheme in {"http", "https"}
        assert target.url.user is None
        assert target.url.raw_host


@pytest.mark.parametrize("ip", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_permitted_at_the_ports_of_the_web(ip: str) -> None:
    assert [port for port in range(1, 65_536) if OPEN.permits(ip, port)] == [80, 443]


def test_a_public_literal_needs_a_web_port_too() -> None:
    with pytest.raises(EgressDenied):
        OPEN.target("http://8.8.8.8:22/")


def test_the_whole_grammar_of_the_allow_list() -> None:
    allow = AllowList.parse(
        "10.0.0.0/8, 127.0.0.1/32:9000,192.168.1.5 ,fd00::/8,[fd11::/16]:81,[::1],Hooks.LAN,hooks.lan.:8443,"
    )
    assert set(allow.networks) == {
        (ip_network("10.0.0.0/8"), None),
        (ip_network("127.0.0.1/32"), 9000),
        (ip_network("192.168.1.5/32"), None),
        (ip_network("fd00::/8"), None),
        (ip_network("fd11::/16"), 81),
        (ip_network("::1/128"), None),
    }
    assert allow.hosts == {("hooks.lan", None), ("hooks.lan", 8443)}
    assert AllowList.parse("") == AllowList.parse(" , ") == AllowList()


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/8:0",
        "10.0.0.0/8:65536",
        "10.0.0.0/8:x",
        "127.1",
        "2130706433",
        "*.lan",
        "-a",
        "hooks.lan:",
        "http://hooks.lan",
        "[hooks.lan]",
        "[fd00::/8",
        "fd00::1/8",
        "user@hooks.lan",
        "hooks.lan:80:80",
        ":80",
    ],
)
def test_a_mistake_in_the_allow_list_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        AllowList.parse(f"10.1.0.0/16,{text}")


def test_a_listed_network_is_permitted_at_its_port() -> None:
    policy = EgressPolicy(allow=AllowList.parse("10.0.0.0/8:9000,127.0.0.1/32"), allow_http=True)
    verdicts = {each: policy.permits(*each) for each in [("10.1.2.3", 9000), ("10.1.2.3", 80), ("11.0.0.1", 9000)]}
    assert verdicts == {("10.1.2.3", 9000): True, ("10.1.2.3", 80): False, ("11.0.0.1", 9000): False}
    assert policy.permits("127.0.0.1", 31_337)
    assert policy.permits("::ffff:127.0.0.1", 31_337)
    assert not policy.permits("127.0.0.2", 80)
    assert policy.permits("8.8.8.8", 443)
    policy.target("http://127.0.0.1:5000/x")
    policy.target("http://10.1.2.3:9000/x")
    with pytest.raises(EgressDenied):
        policy.target("http://10.1.2.3/x")


def test_a_listed_host_is_marked_so_that_any_address_will_do() -> None:
    policy = EgressPolicy(allow=AllowList.parse("hooks.lan:8443,any.lan"))
    listed = ["https://hooks.lan:8443/", "https://HOOKS.lan.:8443/", "https://any.lan/", "https://any.lan:1/"]
    others = ["https://hooks.lan/", "https://x.any.lan/", "https://anyxlan/", "https://8.8.8.8/"]
    assert all(policy.target(url).listed for url in listed)
    assert not any(policy.target(url).listed for url in others)
    assert policy.permits_listed("10.0.0.1", 8443)
    assert not policy.permits("10.0.0.1", 8443)


def test_deny_wins_over_everything() -> None:
    policy = EgressPolicy(
        allow=AllowList.parse("10.0.0.0/8,hooks.lan"), deny=parse_networks("10.9.0.0/16, 8.8.8.0/24"), allow_http=True
    )
    assert policy.permits("10.1.0.1", 80)
    for ip in ("10.9.0.1", "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert not policy.permits(ip, 80)
        assert not policy.permits_listed(ip, 80)
    with pytest.raises(EgressDenied):
        policy.target("http://8.8.8.8/")


def test_an_ipv6_literal_with_a_scope_is_refused_even_when_listed() -> None:
    policy = EgressPolicy(allow=AllowList.parse("fe80::/10"), allow_http=True)
    assert not policy.permits("fe80::1%eth0", 80)
    with pytest.raises(EgressDenied):
        policy.target("http://[fe80::1%25eth0]/")
