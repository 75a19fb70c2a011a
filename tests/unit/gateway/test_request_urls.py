"""The public URL of a request, with headers from trusted proxies and from others."""

from types import SimpleNamespace

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from tidemill.gateway.request_urls import KNOWN_LIMIT, WARNED_LIMIT, RequestUrls
from tidemill.security.egress.addresses import parse_networks
from tidemill.security.public_urls import DEFAULT_URL, PublicUrls

LISTED = PublicUrls("https://tide.example,https://mill.example")


def request(remote="10.0.0.1", **headers):
    return SimpleNamespace(remote=remote, headers=CIMultiDict({k.replace("_", "-"): v for k, v in headers.items()}))


def test_a_request_gets_the_url_it_came_by_else_the_first():
    urls = RequestUrls(LISTED, ())
    assert urls.base_url(request(host="mill.example")) == "https://mill.example"
    assert urls.base_url(request(host="other.example")) == "https://tide.example"
    assert urls.base_url(request()) == "https://tide.example"  # HTTP/1.0


def test_what_a_stranger_forwards_does_not_count():
    urls = RequestUrls(LISTED, ())
    forged = request(host="tide.example", x_forwarded_host="mill.example", x_forwarded_proto="http")
    assert urls.base_url(forged) == "https://tide.example"
    beside = RequestUrls(LISTED, parse_networks("10.9.0.0/16"))
    assert beside.base_url(forged) == "https://tide.example"
    assert (
        beside.base_url(request(None, host="mill.example", x_forwarded_host="tide.example")) == "https://mill.example"
    )


def test_a_trusted_proxy_tells_the_host_and_the_scheme():
    urls = RequestUrls(PublicUrls("http://tide.example,https://tide.example"), parse_networks("10.0.0.0/8"))
    told = request(host="gateway:8300", x_forwarded_host="evil.example, tide.example", x_forwarded_proto="https")
    assert urls.base_url(told) == "https://tide.example"
    assert urls.base_url(request(host="tide.example", x_forwarded_proto="http")) == "http://tide.example"
    assert urls.base_url(request(host="tide.example", x_forwarded_proto="gopher")) == "http://tide.example"


def test_a_host_that_is_not_listed_is_told_of_once():
    urls = RequestUrls(LISTED, ())
    with capture_logs() as logs:
        for host in ["a.example", "a.example", "b.example", "tide.example", "a.example"]:
            urls.base_url(request(host=host))
    assert [entry["host"] for entry in logs] == ["a.example", "b.example"]
    assert all("TIDEMILL_PUBLIC_URLS" in entry["advice"] for entry in logs)


@pytest.mark.parametrize("listed", [LISTED, PublicUrls(DEFAULT_URL)])
def test_a_flood_of_hosts_costs_neither_memory_nor_log_lines(listed):
    urls = RequestUrls(listed, ())
    with capture_logs() as logs:
        for number in range(3 * KNOWN_LIMIT):
            urls.base_url(request(host=f"{number}.example"))
            urls.base_url(request(host=f"127.0.0.1:{number}"))
    assert len(logs) == WARNED_LIMIT
    assert len(urls._known) <= KNOWN_LIMIT
