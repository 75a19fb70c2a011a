"""The S3 store: one bucket. Objects are streamed through aiohttp and never whole in memory; minio signs.

Keys begin with their kind: blobs/ (model files), files/ (uploads), outputs/ (files that models made).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from tidemill.runtime.config import ObjectStoreConfig
from tidemill.runtime.db import backoffs
from tidemill.runtime.objects import multipart
from tidemill.runtime.objects.requests import (
    CONNECT_TIMEOUT_S,
    PRESIGN,
    READ_TIMEOUT_S,
    ObjectMissing,
    ObjectRequests,
    ObjectStoreError,
    Source,
    TrackedSource,
    check,
    failed,
)
from tidemill.runtime.objects.retries import Retries, RetryBudget
from tidemill.runtime.telemetry import log

__all__ = ["CHUNK_BYTES", "ObjectMissing", "ObjectStoreError", "Objects", "Source"]

CHUNK_BYTES: Final = 256 * 1024
PARTS_AT_ONCE: Final = 3  # of one object; more are no faster with a store on one machine
POOL: Final = 10  # connections of minio's client
# Retries of minio's own requests, those that no RetryBudget covers.
POOL_RETRIES: Final = urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504])


class Objects:
    """A bucket. Use as an async context manager."""

    def __init__(self, config: ObjectStoreConfig) -> None:
        url = urlsplit(config.s3_url)
        self._bucket = config.s3_bucket
        self._minio = Minio(
            url.netloc,
            access_key=config.s3_access_key,
            secret_key=config.s3_secret_key,
            secure=url.scheme == "https",
            region=config.s3_region,
            # minio's default pool has a timeout of five minutes.
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
                retries=POOL_RETRIES,
                maxsize=POOL,
            ),
        )
        self._requests = ObjectRequests(self._minio, self._bucket, lambda: self.http)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
            auto_decompress=False,
        )
        for wait in backoffs():
            try:
                await asyncio.to_thread(self._ensure_bucket)
                break
            except (S3Error, OSError, ValueError) as error:
                log().warning("object store away", action="retry", error=str(error))
                await asyncio.sleep(wait)
        return self

    def _ensure_bucket(self) -> None:
        try:
            if not self._minio.bucket_exists(self._bucket):
                self._minio.make_bucket(self._bucket)
        except S3Error as error:
            if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise
        except Exception as error:  # urllib3 has its own errors for a server that cannot be reached
            if type(error).__module__.startswith("urllib3"):
                raise OSError(str(error)) from error
            raise

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._http is not None, "the object store is used before it was entered"
        return self._http

    def retries(self, budget: RetryBudget) -> Retries:
        """Return the retries for a reader that repeats a `get` itself, since it alone knows how much it has read."""
        return self._requests.retries(budget)

    @property
    def away(self) -> bool:
        """Whether no request has succeeded since one failed."""
        return self._requests.away

    async def put(self, key: str, body: bytes, content_type: str, budget: RetryBudget | None = None) -> None:
        """Store bytes that are in memory. Raise ObjectStoreError when the budget is spent."""
        headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        await self._requests.send("PUT", key, budget or RetryBudget(), headers=headers, body=lambda: body)

    async def store(
        self, key: str, source: Source, size: int, content_type: str, budget: RetryBudget | None = None
    ) -> None:
        """Store `size` bytes from a source, large ones as a multipart upload. Raise ObjectStoreError when the budget is
        spent, and also when the source fails: the HTTP client reports only that the body broke off.
        """
        budget = budget or RetryBudget()
        if size > multipart.PART_BYTES:
            await self._store_in_parts(key, source, size, content_type, budget)
            return
        reading = TrackedSource(source)
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        await self._requests.send(
            "PUT", key, budget, headers=headers, body=lambda: reading.chunks(0, size), reading=reading
        )

    async def _store_in_parts(
        self, key: str, source: Source, size: int, content_type: str, budget: RetryBudget
    ) -> None:
        headers = {"Content-Type": content_type}
        begun = await self._requests.send("POST", key, budget, query={"uploads": ""}, headers=headers)
        query = {"uploadId": _required(multipart.value(begun.body, "UploadId"), "UploadId")}
        try:
            completion = multipart.completion(await self._send_parts(key, source, size, query, budget))
            end = await self._requests.send("POST", key, budget, query=query, body=lambda: completion)
            _required(multipart.value(end.body, "ETag"), "ETag")  # a failed completion may have status 200
        except BaseException:
            with contextlib.suppress(ObjectStoreError):  # `abandon_parts` removes what stays
                await self._requests.send("DELETE", key, RetryBudget(0), query=query)
            raise

    async def _send_parts(
        self, key: str, source: Source, size: int, query: Mapping[str, str], budget: RetryBudget
    ) -> list[str]:
        """Send all parts and return their ETags, in order. The first failure cancels the others."""
        places, reading = asyncio.Semaphore(PARTS_AT_ONCE), TrackedSource(source)

        async def send(part: multipart.UploadPart) -> str:
            async with places:
                reply = await self._requests.send(
                    "PUT",
                    key,
                    budget,
                    query={**query, "partNumber": str(part.number)},
                    headers={"Content-Length": str(part.size)},
                    body=lambda: reading.chunks(part.offset, part.size),
                    reading=reading,
                )
            return _required(reply.headers.get("ETag"), "ETag")

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(send(part), name=f"part {part.number} of {key}")
                    for part in multipart.parts(size, multipart.PART_BYTES)
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def abandon_parts(self, before: datetime) -> int:
        """Remove the parts of uploads that began before that moment and were not completed. Return the number of
        uploads. Raise ObjectStoreError.
        """
        try:
            unfinished = await asyncio.to_thread(self._unfinished)
        except (MinioException, OSError, HTTPError) as error:
            raise failed(error) from error
        old = [upload for upload in unfinished if upload.initiated_time < before]
        for upload in old:
            await self._requests.send("DELETE", upload.object_name, RetryBudget(), query={"uploadId": upload.upload_id})
        return len(old)

    def _unfinished(self) -> Sequence[Any]:
        """Return the first thousand unfinished uploads. minio has no public call for it."""
        return self._minio._list_multipart_uploads(self._bucket).uploads  # noqa: SLF001

    @contextlib.asynccontextmanager
    async def get(
        self, key: str, *, byte_range: str | None = None, budget: RetryBudget | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the store's response (200 or 206; 416 for a bad range). Raise ObjectMissing or ObjectStoreError.

        Opening is tried once, or retried within the budget, if one is given; reading is never retried here.
        """
        headers = {"Range": byte_range} if byte_range else {}
        response = await self._requests.insist(lambda: self._opened(key, headers), budget or RetryBudget(0))
        try:
            yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ObjectStoreError(f"could not read {key}: {str(error) or type(error).__name__}") from error
        finally:
            response.close()

    async def _opened(self, key: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        url = self._minio.presigned_get_object(self._bucket, key, PRESIGN)
        try:
            response = await self.http.get(url, headers=headers)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ObjectStoreError(f"could not read {key}: {str(error) or type(error).__name__}") from error
        if response.status == HTTPStatus.NOT_FOUND:
            response.close()
            raise ObjectMissing(key)
        if response.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            try:
                check(response, f"could not read {key}")
            except ObjectStoreError:
                response.close()
                raise
        return response

    async def read(self, key: str, *, limit_bytes: int) -> bytes:
        """Return the whole object, if it has at most `limit_bytes`: for small ones."""
        async with self.get(key) as response:
            if (response.content_length or 0) > limit_bytes:
                raise ObjectStoreError(f"{key} is over {limit_bytes} bytes", passing=False)
            return await response.read()

    async def copy(self, source: str, target: str, budget: RetryBudget | None = None) -> None:
        """Copy an object within the store, at most 5 GiB. Raise ObjectMissing or ObjectStoreError."""

        async def copy() -> None:
            try:
                await asyncio.to_thread(self._minio.copy_object, self._bucket, target, CopySource(self._bucket, source))
            except S3Error as error:
                if error.code == "NoSuchKey":
                    raise ObjectMissing(source) from None
                raise failed(error) from error
            except (OSError, HTTPError, ValueError) as error:  # ValueError: minio cannot read the reply
                raise failed(error) from error

        await self._requests.insist(copy, budget or RetryBudget())

    async def delete(self, keys: list[str]) -> None:
        """Remove objects, ignoring those that do not exist. No retries. Raise ObjectStoreError."""
        try:
            await asyncio.to_thread(self._delete, keys)
        except (MinioException, OSError, HTTPError) as error:  # HTTPError: urllib3's, when the store cannot be reached
            raise failed(error) from error

    def _delete(self, keys: list[str]) -> None:
        for error in self._minio.remove_objects(self._bucket, [DeleteObject(key) for key in keys]):
            raise OSError(f"could not delete {error.name}: {error.message}")

    async def list(self, prefix: str) -> list[Any]:
        """Return the objects under a prefix, each with object_name, size and last_modified. Raise ObjectStoreError."""

        def listing() -> list[Any]:
            return list(self._minio.list_objects(self._bucket, prefix=prefix, recursive=True))

        try:
            return await asyncio.to_thread(listing)
        except (MinioException, OSError, HTTPError) as error:
            raise failed(error) from error


def _required(value: str | None, name: str) -> str:
    if value is None:
        raise ObjectStoreError(f"the store answered without {name}")
    return value
