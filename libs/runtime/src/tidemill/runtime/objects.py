"""The S3 store. Signing is minio's; bytes move through aiohttp, streamed, never whole in memory.

Keys begin with what they are: blobs/ (model files), files/ (uploads), outputs/ (files that models made).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from urllib3.exceptions import HTTPError

from tidemill.runtime.config import ObjectStore
from tidemill.runtime.db import backoffs
from tidemill.runtime.telemetry import log

PRESIGN: Final = timedelta(minutes=15)
CHUNK_BYTES: Final = 256 * 1024
TRIES: Final = 4  # of a request that failed on the way or with 5xx; body streams that cannot be repeated get one


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

    async def put(self, key: str, body: bytes | AsyncIterator[bytes], size: int, content_type: str) -> None:
        """Stores `size` bytes. Raises ObjectStoreError; a body of bytes is retried, a stream is not."""
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        for attempt, wait in zip(range(TRIES if isinstance(body, bytes) else 1), backoffs(), strict=False):
            try:
                url = self._minio.presigned_put_object(self._bucket, key, PRESIGN)
                async with self.http.put(url, data=body, headers=headers) as response:
                    if response.status < 300:
                        return
                    reason = f"status {response.status}"
                    if response.status < 500:
                        break
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            if attempt < TRIES - 1:
                await asyncio.sleep(wait)
        raise ObjectStoreError(f"could not store {key}: {reason}")

    @asynccontextmanager
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
