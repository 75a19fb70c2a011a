"""The only HTTP client for URLs that users give us: webhooks, input files, weights.

The policy checks the URL of every hop, and every address when its socket is created. So literals, redirects, several
addresses and DNS rebinding all pass the same check. Must never send credentials or cookies, use a proxy, let aiohttp
follow a redirect, or inflate a body beyond the caller's limit.
"""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver

from tidemill.security.egress.errors import (
    AddressRefused,
    EgressDenied,
    EgressFailed,
    EgressTimeout,
    EgressTooLarge,
    translate_errors,
)
from tidemill.security.egress.gzip_bodies import inflate, is_compressed
from tidemill.security.egress.policy import EgressPolicy, EgressTarget, ListMatch
from tidemill.security.egress.resolver import IsolatedResolver
from tidemill.security.egress.response_headers import content_type, filename, retry_after_s

CONNECT_TIMEOUT_S = 5.0  # look-up, TCP and TLS together; a slower host counts as down
MAX_REDIRECTS = 3  # a store's short link, its canonical host, its CDN
MAX_CONNECTIONS = 512  # half of the usual 1,024 file descriptors; callers limit themselves well below
KEEPALIVE_S = 4.0  # below the 5 s after which Node servers hang up, so that a reused connection is rarely dead
BODY_HEAD_BYTES = 4_096  # of a webhook's response, stored for its owner
BODY_HEAD_TIMEOUT_S = 2.0  # only the status matters; a slow body must not hold a slot
READ_BYTES = 256 * 1024  # one chunk for the caller: few calls, little memory

_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

# What aiohappyeyeballs hands to a socket factory: family, type, protocol, canonical name, socket address.
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple]  # type: ignore[type-arg]


@dataclass(frozen=True, slots=True)
class Download:
    """A file while it is received. `content_type` and `filename` are the server's, sanitized."""

    content_type: str
    filename: str
    size_bytes: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class PostResponse:
    """A response to a POST, with any status. `retry_after` is in seconds from now."""

    status: int
    body_head: bytes
    retry_after: float | None


class EgressClient:
    """Use it from one event loop, and close it there."""

    def __init__(self, policy: EgressPolicy, *, resolver: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._resolver = resolver or IsolatedResolver()
        # Hosts that the allow-list names have sessions of their own, because an address alone does not tell for which
        # host it was looked up.
        self._sessions: dict[ListMatch, aiohttp.ClientSession] = {}

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> PostResponse:
        """Send `body` unchanged and follow no redirect. Return the response with any status.

        Raise EgressDenied, EgressTimeout or EgressFailed if there is no response.
        """
        target = self._policy.target(url)
        limits = aiohttp.ClientTimeout(total=timeout_s, connect=connect_timeout_s)
        with translate_errors():
            response = await self._session(target).post(
                target.url, data=body, headers=headers, allow_redirects=False, timeout=limits
            )
        try:
            body_head = await _body_head(response)
        finally:
            response.close()
        retry_after = retry_after_s(response.headers.get("Retry-After"), time.time())
        return PostResponse(response.status, body_head, retry_after)

    @asynccontextmanager
    async def fetch(self, url: str, *, limit_bytes: int, timeout_s: float) -> AsyncIterator[Download]:
        """GET a file, with at most MAX_REDIRECTS redirects. `timeout_s` covers all hops and the body.

        Raise EgressDenied, EgressTimeout, EgressFailed or EgressTooLarge, on entering or while reading chunks. The
        chunks never exceed `limit_bytes` in total, even if the server compressed them.
        """
        response = await self._follow(url, _now() + timeout_s)
        try:
            _check_answer(response, limit_bytes)
            kind = content_type(response.headers.get("Content-Type"))
            name = filename(response.headers.get("Content-Disposition"), response.url.name)
            compressed = is_compressed(response.headers.get("Content-Encoding"), kind)
            async with aclosing(_bounded(_received(response), limit_bytes)) as received:
                if not compressed:
                    yield Download(kind, name, response.content_length, received)
                    return
                async with aclosing(_bounded(inflate(received), limit_bytes)) as chunks:
                    yield Download(kind, name, None, chunks)
        finally:
            response.close()

    async def close(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()
        await self._resolver.close()

    async def _follow(self, url: str, deadline_s: float) -> aiohttp.ClientResponse:
        target = self._policy.target(url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get(target, deadline_s - _now())
            location = response.headers.get("Location")
            if response.status not in _REDIRECT_STATUSES or location is None:
                return response
            response.close()
            target = self._policy.target(_joined(str(target.url), location))
        raise EgressFailed(f"more than {MAX_REDIRECTS} redirects")

    async def _get(self, target: EgressTarget, timeout_s: float) -> aiohttp.ClientResponse:
        if timeout_s <= 0:  # 0 means no limit to aiohttp
            raise EgressTimeout
        limits = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)
        with translate_errors():
            return await self._session(target).get(target.url, allow_redirects=False, timeout=limits)

    def _session(self, target: EgressTarget) -> aiohttp.ClientSession:
        session = self._sessions.get(target.listed)
        if session is None:
            session = self._sessions[target.listed] = self._new_session(self._policy.gate(target))
        return session

    def _new_session(self, permits: Callable[[str, int], bool]) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            socket_factory=guarded_socket_factory(permits),
            resolver=self._resolver,
            # Every new connection resolves its host and is checked again; a cache would hide what is dialed.
            use_dns_cache=False,
            limit=MAX_CONNECTIONS,
            keepalive_timeout=KEEPALIVE_S,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._policy.user_agent, "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )


def guarded_socket_factory(permits: Callable[[str, int], bool]) -> Callable[[AddressInfo], socket.socket]:
    """Return a socket factory that raises AddressRefused for addresses that `permits` refuses.

    aiohttp calls it for every connection attempt, with the address that it is about to dial.
    """

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if family not in {socket.AF_INET, socket.AF_INET6} or not permits(str(address[0]), int(address[1])):
            raise AddressRefused
        return socket.socket(family, kind, protocol)

    return open_socket


def _check_answer(response: aiohttp.ClientResponse, limit_bytes: int) -> None:
    if response.status != 200:
        wait_s = retry_after_s(response.headers.get("Retry-After"), time.time())
        reason = f"the server answered with status {response.status}"
        raise EgressFailed(reason, status=response.status, retry_after_s=wait_s)
    if (response.content_length or 0) > limit_bytes:
        raise EgressTooLarge(limit_bytes)


async def _received(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    while True:
        with translate_errors():
            chunk = await response.content.read(READ_BYTES)
        if not chunk:
            return
        yield chunk


async def _bounded(chunks: AsyncGenerator[bytes, None], limit_bytes: int) -> AsyncGenerator[bytes, None]:
    total_bytes = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            total_bytes += len(chunk)
            if total_bytes > limit_bytes:
                raise EgressTooLarge(limit_bytes)
            yield chunk


async def _body_head(response: aiohttp.ClientResponse) -> bytes:
    """Return the start of the body that arrives in time. The status is known already, so errors in the body are
    ignored.
    """
    head = bytearray()
    try:
        async with asyncio.timeout(BODY_HEAD_TIMEOUT_S):
            while len(head) < BODY_HEAD_BYTES and (chunk := await response.content.read(BODY_HEAD_BYTES - len(head))):
                head += chunk
    except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
        pass
    return bytes(head)


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        raise EgressDenied("it redirects to a malformed URL") from None


def _now() -> float:
    return asyncio.get_running_loop().time()
