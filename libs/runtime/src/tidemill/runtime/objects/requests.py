"""Signed requests to a bucket of the S3 store, retried after errors that may pass, and the errors that they raise.

The minio package signs; aiohttp moves the bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol, TypeVar

import aiohttp
from minio import Minio
from minio.error import S3Error

from tidemill.runtime.objects.retries import Outage, Retries, RetryBudget

PRESIGN: Final = timedelta(minutes=15)
CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 60.0  # without a byte; a store that assembles a large object sends nothing for a while
# Statuses below 500 that a retry may mend.
PASSING_STATUSES: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
PASSING_CODES: Final = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"})

Body = bytes | AsyncIterator[bytes]
ResultT = TypeVar("ResultT")


class StoreReply(NamedTuple):
    headers: Mapping[str, str]
    body: bytes


class ObjectMissing(Exception):  # noqa: N818 - named after the situation
    """The object does not exist."""


class ObjectStoreError(Exception):
    """The store refused or could not be reached, after retries. `passing`: a later attempt may succeed."""

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class Source(Protocol):
    """Bytes that can be read more than once, for retries."""

    def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        """Yield exactly `size` bytes from `offset` on."""


class TrackedSource:
    """A source while it is sent. `broken` is True if reading it failed, which no retry mends.

    The HTTP client itself reports only that the request body broke off.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.broken = False

    async def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._source.chunks(offset, size):
                yield chunk
        except (GeneratorExit, asyncio.CancelledError):  # the store or its connection failed, not the source
            raise
        except BaseException:
            self.broken = True
            raise


class ObjectRequests:
    """Requests to one bucket. `http` returns the open HTTP client."""

    def __init__(self, minio: Minio, bucket: str, http: Callable[[], aiohttp.ClientSession]) -> None:
        self._minio = minio
        self._bucket = bucket
        self._http = http
        self._outage = Outage("object store")

    @property
    def away(self) -> bool:
        return self._outage.since is not None

    def retries(self, budget: RetryBudget) -> Retries:
        """Return the retries for a reader that repeats a `get` itself, since it alone knows how much it has read."""
        return Retries(budget, self._outage)

    async def send(
        self,
        method: str,
        key: str,
        budget: RetryBudget,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body] = lambda: b"",
        reading: TrackedSource | None = None,
    ) -> StoreReply:
        """Send a signed request, retried as by `insist`. Raise ObjectStoreError, also for a status from 300 on.

        `body` is called for each attempt. `reading` is the source of the body, if it comes from one.
        """

        async def request() -> StoreReply:
            url = self._minio.get_presigned_url(
                method, self._bucket, key, PRESIGN, extra_query_params=dict(query or {})
            )
            try:
                async with self._http().request(method, url, data=body(), headers=headers) as response:
                    check(response, f"could not {method} {key}")
                    return StoreReply(response.headers, await response.read())
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                broken = reading is not None and reading.broken
                raise ObjectStoreError(f"could not {method} {key}: {reason}", passing=not broken) from None

        return await self.insist(request, budget)

    async def insist(self, call: Callable[[], Awaitable[ResultT]], budget: RetryBudget) -> ResultT:
        """Retry `call` after passing errors while the budget lasts. Raise its last error, or ObjectMissing."""
        retries = self.retries(budget)
        while True:
            try:
                result = await call()
            except ObjectMissing:
                retries.succeeded()  # the store did answer
                raise
            except ObjectStoreError as error:
                if not error.passing or not await retries.wait(str(error)):
                    raise
            else:
                retries.succeeded()
                return result


def check(response: aiohttp.ClientResponse, what: str) -> None:
    """Raise ObjectStoreError for a status from 300 on."""
    status = response.status
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in PASSING_STATUSES
        raise ObjectStoreError(f"{what}: status {status}", passing=passing)


def failed(error: Exception) -> ObjectStoreError:
    """Return an error of minio's client as an ObjectStoreError."""
    passing = not isinstance(error, S3Error) or error.code in PASSING_CODES
    return ObjectStoreError(str(error) or type(error).__name__, passing=passing)
