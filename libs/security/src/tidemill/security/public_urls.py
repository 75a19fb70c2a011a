"""The base URLs of this installation, and which of them a request used. Pure.

A `Host` header can contain anything. Only hosts that the operator lists appear in our URLs. While only loopback is
listed, loopback and addresses of private networks are accepted too, because no attacker can own those.
"""

import re
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from tidemill.security.egress.addresses import Address, parse_networks, unwrap

DEFAULT_URL: Final = "http://127.0.0.1:8300"  # where the gateway listens by default
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# These cannot be reached from outside, so an attacker gains nothing by sending one in a header.
PRIVATE: Final = parse_networks("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7")
HOST_LIMIT_CHARS: Final = 255  # of a name in the DNS
_AUTHORITY: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


class _ListedUrl(NamedTuple):
    url: str
    scheme: str
    host: str
    port: int
    path: str


class PublicUrls:
    """The URLs in `TIDEMILL_PUBLIC_URLS`. The first is the default if none matches or there is no request."""

    def __init__(self, text: str) -> None:
        """Raise ValueError if `text` is not a comma-separated list of http(s) URLs."""
        found = [_parse_url(each.strip()) for each in text.split(",") if each.strip()]
        if not found:
            raise ValueError("it lists no URL")
        self._listed = found
        self.listed: Final = tuple(dict.fromkeys(each.url for each in found))
        self.first: Final = self.listed[0]
        self._loopback = next((each for each in found if _is_loopback(each.host)), None)
        self._only_loopback = all(_is_loopback(each.host) for each in found)

    def reached_by(self, authority: str, scheme: str | None = None) -> str | None:
        """Return the base URL, without a final slash, for a request with this `Host`, or None if it is not listed.

        `scheme` is known only if a trusted proxy sends it. Otherwise the host alone decides, because behind a proxy
        that terminates TLS every request uses plain http.
        """
        parts = _parts(authority)
        if parts is None:
            return None
        host, port = parts
        here = [each for each in self._listed if each.host == host and _port_matches(each, port, scheme)]
        if here:
            return next((each.url for each in here if each.scheme == scheme), here[0].url)
        if self._loopback is not None and _is_loopback(host):
            return f"{scheme or self._loopback.scheme}://{authority.lower()}{self._loopback.path}"
        if self._only_loopback and _is_private(host):
            return f"{scheme or 'http'}://{authority.lower()}"
        return None

    def current(self, url: str) -> str:
        """Return `url` if it is still listed, else the first one, because the list can change."""
        parts = urlsplit(url)
        return url if self.reached_by(parts.netloc, parts.scheme) == url else self.first

    def path_of(self, url: SplitResult) -> str | None:
        """Return the path of a URL below its base, or None if it is on none of our bases."""
        base = self.reached_by(url.netloc, url.scheme) if url.scheme in DEFAULT_PORTS else None
        if base is None or not base.startswith(f"{url.scheme}://"):
            return None
        below = urlsplit(base).path
        return url.path.removeprefix(below) if url.path.startswith(f"{below}/") else None


def _parse_url(text: str) -> _ListedUrl:
    url = urlsplit(text)
    parts = _parts(url.netloc)
    if url.scheme not in DEFAULT_PORTS or parts is None or url.query or url.fragment:
        raise ValueError(f"{text!r} is not an http or https URL with a host and, if need be, a port and a path")
    host, port = parts
    path = url.path.rstrip("/")
    base = f"{url.scheme}://{url.netloc}{path}"
    return _ListedUrl(base, url.scheme, host, DEFAULT_PORTS[url.scheme] if port is None else port, path)


def _parts(authority: str) -> tuple[str, int | None] | None:
    """Return the host, in lower case and without brackets, and the port; None if the text is malformed."""
    match = _AUTHORITY.fullmatch(authority) if len(authority) <= HOST_LIMIT_CHARS else None
    if match is None:
        return None
    return match[1].strip("[]").lower(), None if match[2] is None else int(match[2])


def _port_matches(listed: _ListedUrl, port: int | None, scheme: str | None) -> bool:
    """Return whether the ports match. A missing port means the default of the client's scheme, which may be unknown."""
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
