from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security.public_urls import DEFAULT_URL, PublicUrls

LISTED = PublicUrls("https://tide.example, http://10.1.2.3:8300/ ,http://Tide.lan/mill/")


@pytest.mark.parametrize(
    ("authority", "url"),
    [
        ("tide.example", "https://tide.example"),  # by plain http from the proxy that ends TLS
        ("TIDE.example:443", "https://tide.example"),
        ("10.1.2.3:8300", "http://10.1.2.3:8300"),
        ("tide.lan", "http://Tide.lan/mill"),
        ("tide.lan:80", "http://Tide.lan/mill"),
    ],
)
def test_a_listed_host_gets_its_own_url(authority, url):
    assert LISTED.reached_by(authority) == url


STRANGERS = [
    "evil.example",
    "tide.example.evil.example",
    "evil.example:8300",
    "tide.example:8443",
    "tide.example@evil.example",
    "tide.example/x",
    "tide.example evil.example",
    "93.184.216.34",
    "",
    "[::1",
    "a" * 300,
    'tide.example"',
    "tide.example:99999999",
    "\u200btide.example",
]


@pytest.mark.parametrize("authority", [*STRANGERS, "localhost:8300", "127.0.0.1", "10.1.2.4:8300", "192.168.0.7"])
def test_a_host_that_is_not_listed_gets_none(authority):
    assert LISTED.reached_by(authority) is None


@pytest.mark.parametrize("listed", [DEFAULT_URL, "http://localhost:8300", "http://[::1]:9000,http://127.0.0.1"])
@pytest.mark.parametrize(
    "authority",
    ["localhost:8300", "127.0.0.1:8300", "127.9.9.9", "[::1]:7", "192.168.1.20:8300", "10.0.0.5", "[fd00::1]"],
)
def test_while_only_loopback_is_listed_private_hosts_get_what_they_used(listed, authority):
    assert PublicUrls(listed).reached_by(authority) == f"http://{authority}"


@pytest.mark.parametrize("authority", [*STRANGERS, "169.254.169.254", "0.0.0.0", "gateway", "localhost.evil.example"])
def test_no_other_host_is_believed_even_then(authority):
    assert PublicUrls(DEFAULT_URL).reached_by(authority) is None


def test_one_loopback_host_stands_for_all():
    urls = PublicUrls("https://tide.example,http://127.0.0.1:8300")
    assert urls.reached_by("localhost:9000") == "http://localhost:9000"
    assert urls.reached_by("192.168.1.20:8300") is None


def test_the_scheme_counts_where_it_is_known():
    urls = PublicUrls("http://tide.example,https://tide.example,http://127.0.0.1")
    assert urls.reached_by("tide.example") == "http://tide.example"
    assert urls.reached_by("tide.example", "https") == "https://tide.example"
    assert urls.reached_by("tide.example", "http") == "http://tide.example"
    assert urls.reached_by("localhost", "https") == "https://localhost"


def test_a_url_that_is_not_listed_any_more_gives_way_to_the_first():
    assert LISTED.current("http://10.1.2.3:8300") == "http://10.1.2.3:8300"
    assert LISTED.current("http://192.168.1.20:8300") == "https://tide.example"
    assert PublicUrls(DEFAULT_URL).current("http://192.168.1.20:8300") == "http://192.168.1.20:8300"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://tide.example/v1/files/x?y=1", "/v1/files/x"),
        ("http://tide.example/v1/files/x", None),
        ("http://tide.lan/mill/v1/x", "/v1/x"),
        ("http://tide.lan/million/v1/x", None),
        ("http://tide.lan/v1/x", None),
        ("https://evil.example/v1/x", None),
        ("ftp://tide.example/x", None),
    ],
)
def test_the_path_of_a_url_of_ours(url, path):
    assert LISTED.path_of(urlsplit(url)) == path


@pytest.mark.parametrize(
    "text", ["", " , ", "tide.example", "ftp://tide.example", "https://", "https://a b", "https://x/?y", "https://u@x"]
)
def test_a_list_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"it lists no URL|is not an http or https URL"):
        PublicUrls(text)


@given(st.text())
def test_what_is_answered_was_listed_or_is_nobodys(authority):
    assert LISTED.reached_by(authority) in {None, *LISTED.listed}
