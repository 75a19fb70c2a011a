"""The URLs under which clients reach this installation, and which of them a request came by. Pure.

A `Host` header is whatever its sender wrote. Only hosts that the operator lists get into URLs that we answer; while
nothing but loopback is listed, also those that no stranger can own: loopback and addresses of private networks.
"""

import re
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from tidemill.security.egress.addresses import Address, parse_networks, unwrap

DEFAULT_URL: Final = "http://127.0.0.1:8300"  # where the gateway listens unless it is told otherwise
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# No name and no route leads to these from outside, so a stranger gains nothing by writing one into a header.
PRIVATE: Final = parse_networks("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7")
HOST_LIMIT_CHARS: Final = 255  # of a name in the DNS
_AUTHORITY: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


class _Listed(NamedTuple):
    url: str
    scheme: str
    host: str
    port: int
    path: str


class PublicUrls:
    """What `TIDEMILL_PUBLIC_URLS` lists; the first stands wherever no listed one fits, or no request is known."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for what is no comma-separated list of http(s) URLs."""
        found = [_listed(each.strip()) for each in text.split(",") if each.strip()]
        if not found:
            raise ValueError("it lists no URL")
        self._listed = found
        self.listed: Final = tuple(dict.fromkeys(each.url for each in found))
        self.first: Final = self.listed[0]
        self._loopback = next((each for each in found if _is_loopback(each.host)), None)
        self._only_loopback = all(_is_loopback(each.host) for each in found)

    def reached_by(self, authority: str, scheme: str | None = None) -> str | None:
        """The URL, without a slash at its end, for a request with this `Host`; None when that is not listed.

        `scheme` is known only where a trusted proxy tells it. Where it is not, the host alone decides: behind a proxy
        that ends TLS each request comes by plain http.
        """
        parts = _parts(authority)
        if parts is None:
            return None
        host, port = parts
        here = [each for each in self._listed if each.host == host and _fits(each, port, scheme)]
        if here:
            return next((each.url for each in here if each.scheme == scheme), here[0].url)
        if self._loopback is not None and _is_loopback(host):
            return f"{scheme or self._loopback.scheme}://{authority.lower()}{self._loopback.path}"
        if self._only_loopback and _is_private(host):
            return f"{scheme or 'http'}://{authority.lower()}"
        return None

    def current(self, url: str) -> str:
        """`url` if it is still one by which we are reached, else the first: lists change."""
        parts = urlsplit(url)
        return url if self.reached_by(parts.netloc, parts.scheme) == url else self.first

    def path_of(self, url: SplitResult) -> str | None:
        """The path of a URL below the base that it is on; None for a URL that leads elsewhere."""
        base = self.reached_by(url.netloc, url.scheme) if url.scheme in DEFAULT_PORTS else None
        if base is None or not base.startswith(f"{url.scheme}://"):
            return None
        below = urlsplit(base).path
        return url.path.removeprefix(below) if url.path.startswith(f"{below}/") else None


def _listed(text: str) -> _Listed:
    url = urlsplit(text)
    parts = _parts(url.netloc)
    if url.scheme not in DEFAULT_PORTS or parts is None or url.query or url.fragment:
        raise ValueError(f"{text!r} is not an http or https URL with a host and, if need be, a port and a path")
    host, port = parts
    path = url.path.rstrip("/")
    base = f"{url.scheme}://{url.netloc}{path}"
    return _Listed(base, url.scheme, host, DEFAULT_PORTS[url.scheme] if port is None else port, path)


def _parts(authority: str) -> tuple[str, int | None] | None:
    """Host, in lower case and without brackets, and port; None for what is neither."""
    match = _AUTHORITY.fullmatch(authority) if len(authority) <= HOST_LIMIT_CHARS else None
    if match is None:
        return None
    return match[1].strip("[]").lower(), None if match[2] is None else int(match[2])


def _fits(listed: _Listed, port: int | None, scheme: str | None) -> bool:
    """Without a port it is the default of the scheme by which the client came, which may be unknown."""
    return listed.port == (DEFAULT_PORTS[scheme or listed.scheme] if port is None else port)


def _address(host: str) -> Address | None:
    try:
        return unwrap(ip_address(host))
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _is_private(host: str) -> bool:
    address = _address(host)
    return _is_loopback(host) or (address is not None and any(address in network for network in PRIVATE))
