"""The public URL by which each request came: the base of the URLs in its response.

Clients can often reach only the host that they used, or follow only links to it. The `Host` header counts if
`PublicUrls` accepts it; `X-Forwarded-Host` and `X-Forwarded-Proto` count from trusted proxies only.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from aiohttp import hdrs, web

from tidemill.runtime.telemetry import log
from tidemill.security.egress.addresses import Network
from tidemill.security.public_urls import DEFAULT_PORTS, HOST_LIMIT_CHARS, PublicUrls

KNOWN_LIMIT: Final = 1_000  # hosts cached; honest clients use a handful
WARNED_LIMIT: Final = 100  # hosts in the log; by then the operator knows

_Origin = tuple[str, str | None]  # host and scheme; the scheme only if a trusted proxy names it


class RequestUrls:
    """`proxies`: whose `X-Forwarded-*` headers are trusted."""

    def __init__(self, public_urls: PublicUrls, proxies: Sequence[Network]) -> None:
        self._public_urls = public_urls
        self._proxies = proxies
        self._known: dict[_Origin, str] = {}
        self._warned: set[str] = set()

    def base_url(self, request: web.Request) -> str:
        """Return the URL without a trailing slash: the first listed one if the request came by none of them."""
        headers = request.headers
        origin: _Origin = (headers.get(hdrs.HOST, ""), None)
        if self._proxies and (hdrs.X_FORWARDED_HOST in headers or hdrs.X_FORWARDED_PROTO in headers):
            origin = self._forwarded(request, origin[0])
        known = self._known.get(origin)
        return self._resolve(origin) if known is None else known

    def _forwarded(self, request: web.Request, host: str) -> _Origin:
        """Return what the nearest proxy says, if it is trusted. Each proxy appends, so the last value counts."""
        try:
            peer = ip_address(request.remote or "")
        except ValueError:
            return host, None
        if not any(peer in network for network in self._proxies):
            return host, None
        forwarded = request.headers.get(hdrs.X_FORWARDED_HOST, host).rpartition(",")[2].strip()
        scheme = request.headers.get(hdrs.X_FORWARDED_PROTO, "").rpartition(",")[2].strip().lower()
        return forwarded, scheme if scheme in DEFAULT_PORTS else None

    def _resolve(self, origin: _Origin) -> str:
        host, scheme = origin
        found = self._public_urls.reached_by(host, scheme)
        if found is None:
            found = self._public_urls.first
            self._warn(host)
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[origin] = found
        return found

    def _warn(self, host: str) -> None:
        """Log each host once, and WARNED_LIMIT hosts at most: anybody can send a header."""
        shown = host[:HOST_LIMIT_CHARS]
        if shown and shown not in self._warned and len(self._warned) < WARNED_LIMIT:
            self._warned.add(shown)
            log().warning(
                "a host that is not listed",
                action="answer",
                host=shown,
                answered=self._public_urls.first,
                advice="add its URL to TIDEMILL_PUBLIC_URLS",
            )
