"""The HTTP API as the commands use it."""

import os
from collections.abc import Iterator
from typing import Any

import httpx

from tidemill.cli.errors import CommandError

API_URL = "http://127.0.0.1:8300"  # of the local stack
TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class Unreachable(CommandError):  # noqa: N818 - named after the situation
    """cannot reach the API"""


class Api:
    """A client for REPLICATE_BASE_URL with REPLICATE_API_TOKEN."""

    def __init__(self) -> None:
        base = os.environ.get("REPLICATE_BASE_URL", API_URL).rstrip("/").removesuffix("/v1")
        token = os.environ.get("REPLICATE_API_TOKEN")
        if not token:
            raise CommandError("REPLICATE_API_TOKEN is not set; `. .tidemill/env` sets it for the local stack")
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "tidemill-cli"}
        self.http = httpx.Client(base_url=f"{base}/v1/", headers=headers, timeout=TIMEOUT)

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The decoded JSON of an answer (None for an empty one). Raises CommandError with the problem's detail."""
        return decoded(self._answer(method, path, **arguments))

    def find(self, path: str, *, or_status: int = 404) -> Any | None:
        """As `call` with GET; None for a 404, or for the status given."""
        response = self._answer("GET", path)
        return None if response.status_code == or_status else decoded(response)

    def text(self, path: str) -> str | None:
        """The text of an answer; None for 404."""
        response = self._answer("GET", path)
        if response.status_code == 404:
            return None
        if not response.is_success:
            decoded(response)
        return response.text

    def here(self, url: str) -> str:
        """A URL of the API, at the address by which it is asked, whatever host it names."""
        return f"{self.http.base_url}{url.partition('/v1/')[2]}"

    def _answer(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self.http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unreachable(f"cannot reach the API: {error}") from None


def pages(api: Api, path: str, query: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Everything in a list, page by page."""
    page = api.call("GET", path, params=query or {})
    while True:
        yield from page["results"]
        if page["next"] is None:
            return
        # Whatever host the link names: the token goes to the one that was asked.
        page = api.call("GET", page["next"].partition("/v1/")[2])


def decoded(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if response.content else None
    try:
        detail = response.json().get("detail") or response.text
    except ValueError:
        detail = response.text
    raise CommandError(f"{response.status_code} {response.reason_phrase}: {str(detail).strip()}")
