"""The S3 store. Signing is minio's; bytes move through aiohttp, streamed, never whole in memory.

Keys begin with what they are: blobs/ (model files), files/ (uploads), outputs/ (files that models made).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

import aiohttp
from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from tidemill.runtime import multipart
from tidemill.runtime.config import ObjectStore
from tidemill.runtime.db import backoffs
from tidemill.runtime.telemetry import log

PRESIGN: Final = timedelta(minutes=15)
CHUNK_BYTES: Final = 256 * 1024
PARTS_AT_ONCE: Final = 3  # of one object; a store on one machine gains nothing from more
TRIES: Final = 4  # of a request that failed on the way or with 5xx: a store that restarts is back by then

Body = bytes | AsyncIterator[bytes]


class Source(Protocol):
    """Bytes that can be read as often as they are needed."""

    def chunks(self, offset: int, size: int) -> AsyncIterator[bytes]:
        """Exactly `size` bytes from `offset` on."""


class Reply(NamedTuple):
    headers: Mapping[str, str]
    body: bytes


class ObjectMissing(Exception):  # noqa: N818 - named after the situation
    """There is no such object."""


class ObjectStoreError(Exception):
    """The store refused or could not be reached, after retries."""


class Objects:
    """A bucket. Use as an async context manager."""

    def __init__(self, config: ObjectStore) -> None:
        url = urlsplit(config.s3_url)
        self._bucket = config.s3_bucket
        self._minio = Minio(
            url.netloc,
            access_key=config.s3_access_key,
            secret_key=config.s3_secret_key,
            secure=url.scheme == "https",
            region=config.s3_region,
        )
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60), auto_decompress=False
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
        except Exception as error:  # urllib3 raises its own family when the server is away
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

    async def put(self, key: str, body: bytes, content_type: str) -> None:
        """Stores what is in memory. Raises ObjectStoreError."""
        headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        await self._request("PUT", key, headers=headers, body=lambda: body)

    async def store(self, key: str, source: Source, size: int, content_type: str) -> None:
        """Stores `size` bytes that are not in memory; large ones in parts. Raises ObjectStoreError, also when the
        source fails: the HTTP client tells only that the body broke off.
        """
        if size > multipart.PART_BYTES:
            await self._store_in_parts(key, source, size, content_type)
            return
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        await self._request("PUT", key, headers=headers, body=lambda: source.chunks(0, size))

    async def _store_in_parts(self, key: str, source: Source, size: int, content_type: str) -> None:
        headers = {"Content-Type": content_type}
        begun = await self._request("POST", key, query={"uploads": ""}, headers=headers)
        query = {"uploadId": _said(multipart.value(begun.body, "UploadId"), "UploadId")}
        try:
            etags = await self._send_parts(key, source, size, query)
            end = await self._request("POST", key, query=query, body=lambda: multipart.completion(etags))
            _said(multipart.value(end.body, "ETag"), "ETag")  # a failure may come with status 200
        except BaseException:
            with contextlib.suppress(ObjectStoreError):  # what stays is found by `abandon_parts`
                await self._request("DELETE", key, query=query)
            raise

    async def _send_parts(self, key: str, source: Source, size: int, query: Mapping[str, str]) -> list[str]:
        """Their ETags, in order; the first failure ends all."""
        places = asyncio.Semaphore(PARTS_AT_ONCE)

        async def send(part: multipart.Part) -> str:
            async with places:
                reply = await self._request(
                    "PUT",
                    key,
                    query={**query, "partNumber": str(part.number)},
                    headers={"Content-Length": str(part.size)},
                    body=lambda: source.chunks(part.offset, part.size),
                )
            return _said(reply.headers.get("ETag"), "ETag")

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(send(part), name=f"part {part.number} of {key}")
                    for part in multipart.parts(size, multipart.PART_BYTES)
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _request(
        self,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body] = lambda: b"",
    ) -> Reply:
        """A signed request, repeated when it fails on the way or with 5xx; `body` is asked for anew each time. Raises
        ObjectStoreError, also for a status from 300 on.
        """
        for attempt, wait in zip(range(1, TRIES + 1), backoffs(), strict=False):
            url = self._minio.get_presigned_url(
                method, self._bucket, key, PRESIGN, extra_query_params=dict(query or {})
            )
            try:
                async with self.http.request(method, url, data=body(), headers=headers) as response:
                    if response.status < 300:
                        return Reply(response.headers, await response.read())
                    reason = f"status {response.status}"
                    if response.status < 500:
                        break
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            if attempt < TRIES:
                await asyncio.sleep(wait)
        raise ObjectStoreError(f"could not {method} {key}: {reason}")

    async def abandon_parts(self, before: datetime) -> int:
        """Removes the parts of uploads that began before that moment and were never completed; of how many uploads.
        Raises ObjectStoreError.
        """
        try:
            unfinished = await asyncio.to_thread(self._unfinished)
        except (MinioException, OSError, HTTPError) as error:
            raise ObjectStoreError(str(error)) from error
        old = [upload for upload in unfinished if upload.initiated_time < before]
        for upload in old:
            await self._request("DELETE", upload.object_name, query={"uploadId": upload.upload_id})
        return len(old)

    def _unfinished(self) -> Sequence[Any]:
        """The first thousand. The client has no public call for it."""
        return self._minio._list_multipart_uploads(self._bucket).uploads  # noqa: SLF001

    @contextlib.asynccontextmanager
    async def get(self, key: str, *, byte_range: str | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """The store's response (200 or 206; 416 for a bad range). Raises ObjectMissing, ObjectStoreError."""
        url = self._minio.presigned_get_object(self._bucket, key, PRESIGN)
        headers = {"Range": byte_range} if byte_range else {}
        try:
            async with self.http.get(url, headers=headers) as response:
                if response.status == 404:
                    raise ObjectMissing(key)
                if response.status not in {200, 206, 416}:
                    raise ObjectStoreError(f"could not read {key}: status {response.status}")
                yield response
        except aiohttp.ClientError as error:
            raise ObjectStoreError(f"could not read {key}: {error}") from error

    async def read(self, key: str, *, limit_bytes: int) -> bytes:
        """The whole object, at most `limit_bytes`; for small ones."""
        async with self.get(key) as response:
            if (response.content_length or 0) > limit_bytes:
                raise ObjectStoreError(f"{key} is over {limit_bytes} bytes")
            return await response.read()

    async def copy(self, source: str, target: str) -> None:
        """Copies an object within the store, at most 5 GiB. Raises ObjectMissing, ObjectStoreError."""
        try:
            await asyncio.to_thread(self._minio.copy_object, self._bucket, target, CopySource(self._bucket, source))
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise ObjectMissing(source) from None
            raise ObjectStoreError(str(error)) from error
        except (OSError, HTTPError, ValueError) as error:  # ValueError: minio's own, for an answer it cannot read
            raise ObjectStoreError(str(error)) from error

    async def delete(self, keys: list[str]) -> None:
        """Removes objects; those that are missing already are fine. Raises ObjectStoreError."""
        try:
            await asyncio.to_thread(self._delete, keys)
        except (S3Error, OSError, HTTPError) as error:  # urllib3's own family, when the store is away
            raise ObjectStoreError(str(error)) from error

    def _delete(self, keys: list[str]) -> None:
        for error in self._minio.remove_objects(self._bucket, [DeleteObject(key) for key in keys]):
            raise OSError(f"could not delete {error.name}: {error.message}")

    async def list(self, prefix: str) -> list[Any]:
        """Objects under a prefix: each has object_name, size and last_modified. Raises ObjectStoreError."""

        def listing() -> list[Any]:
            return list(self._minio.list_objects(self._bucket, prefix=prefix, recursive=True))

        try:
            return await asyncio.to_thread(listing)
        except (S3Error, OSError, HTTPError) as error:
            raise ObjectStoreError(str(error)) from error


def _said(value: str | None, name: str) -> str:
    if value is None:
        raise ObjectStoreError(f"the store answered without {name}")
    return value
