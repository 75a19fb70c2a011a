"""The HTTP API as the commands use it."""

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

from tidemill.cli.errors import CommandError

API_URL = "http://127.0.0.1:8300"  # of the local stack
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
PATIENCE_S = 90.0  # with an API that is away, or whose store is: longer than either takes to restart
PAUSE_S = 1.0

ResultT = TypeVar("ResultT")


class Away(CommandError):  # noqa: N818 - named after the situation
    """the API cannot answer now"""


class Unreachable(Away):
    """cannot reach the API"""


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
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            raise Unreachable(f"cannot reach the API at {self._base}: {reason}") from None


def patiently(call: Callable[[], ResultT]) -> ResultT:
    """Repeats what may be done twice while the API is away, for PATIENCE_S from the first failure on. Raises Away."""
    give_up_at: float | None = None
    while True:
        try:
            return call()
        except Away:
            now = time.monotonic()
            give_up_at = now + PATIENCE_S if give_up_at is None else give_up_at
            if now + PAUSE_S > give_up_at:
                raise
            time.sleep(PAUSE_S)


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
    kind = Away if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else CommandError
    # The API says the same of all that is missing; the person at the terminal wants to know which of it.
    what = f" ({_asked(response)})" if response.status_code == httpx.codes.NOT_FOUND else ""
    raise kind(f"{response.status_code} {response.reason_phrase}: {str(detail).strip()}{what}")


def _asked(response: httpx.Response) -> str:
    """What was asked for, as the API's paths name it: predictions/ID."""
    return response.request.url.path.removeprefix("/v1/")
