"""Signed requests to a bucket of the S3 store, repeated while their failure may pass; and what they raise.

Signing is minio's; bytes move through aiohttp.
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
READ_TIMEOUT_S: Final = 60.0  # in which nothing came; a store that assembles a large object is silent for a while
# Answers that another try may better, besides all from 500 on.
PASSING_STATUSES: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
PASSING_CODES: Final = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"})

Body = bytes | AsyncIterator[bytes]
ResultT = TypeVar("ResultT")


class Reply(NamedTuple):
    headers: Mapping[str, str]
    body: bytes


class ObjectMissing(Exception):  # noqa: N818 - named after the situation
    """There is no such object."""


class ObjectStoreError(Exception):
    """The store refused or could not be reached, after retries. `passing`: another try later may go better."""

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class Source(Protocol):
    """Bytes that can be read as often as they are needed."""

    def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        """Exactly `size` bytes from `offset` on."""


class Reading:
    """A source that is sent. The HTTP client tells only that a body broke off: `broken` says that the source did it,
    which no other try mends.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.broken = False

    async def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._source.chunks(offset, size):
                yield chunk
        except (GeneratorExit, asyncio.CancelledError):  # it was the store, or its connection
            raise
        except BaseException:
            self.broken = True
            raise


class Requests:
    """`http` is the client that is open at the moment."""

    def __init__(self, minio: Minio, bucket: str, http: Callable[[], aiohttp.ClientSession]) -> None:
        self._minio = minio
        self._bucket = bucket
        self._http = http
        self._outage = Outage("object store")

    @property
    def away(self) -> bool:
        return self._outage.since is not None

    def retries(self, budget: RetryBudget) -> Retries:
        """For whoever repeats a `get`, of which only the reader knows how far it came."""
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
        reading: Reading | None = None,
    ) -> Reply:
        """A signed request, repeated as `insist` does; `body` is asked for anew each time, and `reading` is where it
        comes from. Raises ObjectStoreError, also for a status from 300 on.
        """

        async def request() -> Reply:
            url = self._minio.get_presigned_url(
                method, self._bucket, key, PRESIGN, extra_query_params=dict(query or {})
            )
            try:
                async with self._http().request(method, url, data=body(), headers=headers) as response:
                    check(response, f"could not {method} {key}")
                    return Reply(response.headers, await response.read())
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                broken = reading is not None and reading.broken
                raise ObjectStoreError(f"could not {method} {key}: {reason}", passing=not broken) from None

        return await self.insist(request, budget)

    async def insist(self, call: Callable[[], Awaitable[ResultT]], budget: RetryBudget) -> ResultT:
        """Repeats what fails with a passing error for as long as its budget lasts."""
        retries = self.retries(budget)
        while True:
            try:
                result = await call()
            except ObjectMissing:
                retries.succeeded()  # that was an answer
                raise
            except ObjectStoreError as error:
                if not error.passing or not await retries.wait(str(error)):
                    raise
            else:
                retries.succeeded()
                return result


def check(response: aiohttp.ClientResponse, what: str) -> None:
    """Raises ObjectStoreError for a status from 300 on."""
    status = response.status
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in PASSING_STATUSES
        raise ObjectStoreError(f"{what}: status {status}", passing=passing)


def failed(error: Exception) -> ObjectStoreError:
    """What minio's client raised, as ours."""
    passing = not isinstance(error, S3Error) or error.code in PASSING_CODES
    return ObjectStoreError(str(error) or type(error).__name__, passing=passing)
