"""The public URL by which each request came: the base of the URLs in its answer.

A client follows only links to where it asked, or can reach nothing else. What a `Host` header says counts as far as
`PublicUrls` believes it; `X-Forwarded-Host` and `X-Forwarded-Proto` count from trusted proxies only.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from aiohttp import hdrs, web

from tidemill.runtime.telemetry import log
from tidemill.security.egress.addresses import Network
from tidemill.security.public_urls import DEFAULT_PORTS, HOST_LIMIT_CHARS, PublicUrls

KNOWN_LIMIT: Final = 1_000  # hosts remembered; honest clients use a handful, whoever invents more gains nothing
WARNED_LIMIT: Final = 100  # hosts told of in the log; by then the operator knows

_Asked = tuple[str, str | None]  # host and scheme; the scheme where a proxy tells it


class RequestUrls:
    """`proxies`: whose word counts for the host and the scheme that a client used."""

    def __init__(self, public_urls: PublicUrls, proxies: Sequence[Network]) -> None:
        self._public_urls = public_urls
        self._proxies = proxies
        self._known: dict[_Asked, str] = {}
        self._warned: set[str] = set()

    def base_url(self, request: web.Request) -> str:
        """Without a slash at its end. The first that is listed when the request came by none of them."""
        headers = request.headers
        asked: _Asked = (headers.get(hdrs.HOST, ""), None)
        if self._proxies and (hdrs.X_FORWARDED_HOST in headers or hdrs.X_FORWARDED_PROTO in headers):
            asked = self._forwarded(request, asked[0])
        known = self._known.get(asked)
        return self._look(asked) if known is None else known

    def _forwarded(self, request: web.Request, host: str) -> _Asked:
        """As the nearest proxy tells it, if it is one of ours: each appends to what it was told."""
        try:
            peer = ip_address(request.remote or "")
        except ValueError:
            return host, None
        if not any(peer in network for network in self._proxies):
            return host, None
        told = request.headers.get(hdrs.X_FORWARDED_HOST, host).rpartition(",")[2].strip()
        scheme = request.headers.get(hdrs.X_FORWARDED_PROTO, "").rpartition(",")[2].strip().lower()
        return told, scheme if scheme in DEFAULT_PORTS else None

    def _look(self, asked: _Asked) -> str:
        host, scheme = asked
        found = self._public_urls.reached_by(host, scheme)
        if found is None:
            found = self._public_urls.first
            self._warn(host)
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[asked] = found
        return found

    def _warn(self, host: str) -> None:
        """Once for each host, and not for ever: anybody can send a header."""
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
