"""The client of the HTTP API: requests, pages, retries, and errors in words."""

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

from tidemill.cli.errors import CommandError

API_URL = "http://127.0.0.1:8300"  # the local stack's default
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
RETRY_FOR_S = 90.0  # longer than the API or its object store takes to restart
RETRY_PAUSE_S = 1.0

ResultT = TypeVar("ResultT")


class ServiceUnavailable(CommandError):  # noqa: N818 - named after the situation
    """The API cannot answer now."""


class Unreachable(ServiceUnavailable):
    """The API cannot be reached."""


class Api:
    """A client for REPLICATE_BASE_URL with REPLICATE_API_TOKEN."""

    def __init__(self) -> None:
        base = os.environ.get("REPLICATE_BASE_URL", API_URL).rstrip("/").removesuffix("/v1")
        token = os.environ.get("REPLICATE_API_TOKEN")
        if not token:
            raise CommandError("REPLICATE_API_TOKEN is not set; `. .tidemill/env` sets it for the local stack")
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "tidemill-cli"}
        self._base = base
        self.http = httpx.Client(base_url=f"{base}/v1/", headers=headers, timeout=TIMEOUT)

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Return the decoded JSON of the response, None for an empty body. Raise CommandError with the API's detail."""
        return decode_response(self._send(method, path, **arguments))

    def find(self, path: str, *, or_status: int = 404) -> Any | None:
        """Return the JSON of a GET, or None for a 404 or for `or_status`."""
        response = self._send("GET", path)
        return None if response.status_code == or_status else decode_response(response)

    def text(self, path: str) -> str | None:
        """Return the body of a GET as text, or None for a 404."""
        response = self._send("GET", path)
        if response.status_code == 404:
            return None
        if not response.is_success:
            decode_response(response)
        return response.text

    def own_url(self, url: str) -> str:
        """Return a URL of the API on the host that this client uses, whatever host it names."""
        return f"{self.http.base_url}{url.partition('/v1/')[2]}"

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self.http.request(method, path, **arguments)
        except httpx.TransportError as error:
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            raise Unreachable(f"cannot reach the API at {self._base}: {reason}") from None


def retry_while_unavailable(call: Callable[[], ResultT]) -> ResultT:
    """Repeat an idempotent call for RETRY_FOR_S after its first failure. Raise ServiceUnavailable."""
    give_up_at: float | None = None
    while True:
        try:
            return call()
        except ServiceUnavailable:
            now = time.monotonic()
            give_up_at = now + RETRY_FOR_S if give_up_at is None else give_up_at
            if now + RETRY_PAUSE_S > give_up_at:
                raise
            time.sleep(RETRY_PAUSE_S)


def paginate(api: Api, path: str, query: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield all items of a list, page by page."""
    page = api.call("GET", path, params=query or {})
    while True:
        yield from page["results"]
        if page["next"] is None:
            return
        # The host in the link is ignored: the token must go to no other host than the configured one.
        page = api.call("GET", page["next"].partition("/v1/")[2])


def decode_response(response: httpx.Response) -> Any:
    """Return the JSON of a successful response, None for an empty body. Raise CommandError otherwise."""
    if response.is_success:
        return response.json() if response.content else None
    try:
        detail = response.json().get("detail") or response.text
    except ValueError:
        detail = response.text
    kind = ServiceUnavailable if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else CommandError
    # The API's 404 does not say what is missing: add the path.
    what = f" ({_api_path(response)})" if response.status_code == httpx.codes.NOT_FOUND else ""
    raise kind(f"{response.status_code} {response.reason_phrase}: {str(detail).strip()}{what}")


def _api_path(response: httpx.Response) -> str:
    """Return the path of the request below /v1/, like predictions/ID."""
    return response.request.url.path.removeprefix("/v1/")
