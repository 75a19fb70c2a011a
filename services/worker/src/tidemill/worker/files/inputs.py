"""Fetches file inputs: each URL of an input becomes a path in a folder that the child can only read.

Accepted are data: URIs, our own files and outputs, and URLs that the egress policy allows. A local path must never
reach a model.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import aiohttp

from tidemill.contracts.limits import INPUT_FILE_LIMIT_BYTES
from tidemill.hosting.files import data_uris, media_suffixes
from tidemill.hosting.files.file_fields import FileField, InputFileUrl, NotAFile, input_files, with_paths
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, backoffs, retry_transient
from tidemill.runtime.objects.retries import RETRY_BUDGET_S, RetryBudget
from tidemill.runtime.objects.store import CHUNK_BYTES, ObjectMissing, Objects, ObjectStoreError
from tidemill.security.capability import InvalidCapability
from tidemill.security.data_uri_syntax import InvalidDataUri
from tidemill.security.egress.client import EgressClient
from tidemill.security.egress.errors import EgressError, EgressFailed, EgressTimeout
from tidemill.security.egress.response_headers import filename
from tidemill.security.public_urls import PublicUrls
from tidemill.worker.files import input_store
from tidemill.worker.files.input_sources import (
    DataUri,
    DeliveredOutput,
    ExternalUrl,
    UnsupportedUrl,
    UploadedFile,
    source_of,
)
from tidemill.worker.files.spool import SpoolTooLarge, spool

PARALLEL: Final = 8  # fetches at once, of all predictions of the worker
FILES_LIMIT: Final = 200  # of one input; an album, not a data set
TRIES: Final = 3  # of an external fetch that failed on the way, with 5xx, or with 429 without Retry-After
BUSY_LIMIT_S: Final = 60.0  # in all, for Retry-After of a server; the prediction holds its place meanwhile
FETCH_TIMEOUT_S: Final = 300.0  # of one try: INPUT_FILE_LIMIT_BYTES at 3.5 MB/s
DATABASE_PATIENCE_S: Final = RETRY_BUDGET_S  # for the row of an uploaded file, while the database is unreachable
NAME_LIMIT_CHARS: Final = 100  # of a file's name for the model; its suffix is kept
FILE_MODE: Final = 0o444
FOLDER_MODE: Final = 0o755  # the child may run under a uid of its own

# Returns the object key that a delivery URL of ours grants. Raises InvalidCapability.
DeliveryKey = Callable[[str], str]


class InputFetchError(Exception):
    """An input file could not be fetched; the message is for the prediction's user."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"The input {field} could not be fetched: {reason}")
        self.field = field
        self.reason = reason


class _FileUnavailable(Exception):  # noqa: N818 - named after the situation
    """One file cannot be fetched; the message is for the user."""


class _IncomingFile(NamedTuple):
    """A file as it arrives. The name is not trusted before `name_for` has made it safe."""

    name: str
    content_type: str
    chunks: AsyncIterator[bytes]


class InputFetcher:
    """URLs below `public_urls` are ours."""

    def __init__(
        self,
        database: Database,
        objects: Objects,
        egress: EgressClient,
        *,
        public_urls: PublicUrls,
        delivery_key: DeliveryKey,
    ) -> None:
        self._database = database
        self._objects = objects
        self._egress = egress
        self._public_urls = public_urls
        self._delivery_key = delivery_key
        self._slots = asyncio.Semaphore(PARALLEL)

    async def fetch_files(
        self,
        fields: tuple[FileField, ...],
        value: Mapping[str, Any],
        folder: Path,
        account: str,
        budget: RetryBudget | None = None,
    ) -> dict[str, Any]:
        """Return the input with local paths for the files of `fields`. They lie below `folder`, made if need be.

        `budget` limits the retries of our own store. Raise InputFetchError; the folder is then removed.
        """
        try:
            wanted = input_files(fields, value)
        except NotAFile as error:
            raise InputFetchError(error.field, "it must be a URL") from None
        if len(wanted) > FILES_LIMIT:
            raise InputFetchError(wanted[-1].field, f"an input has at most {FILES_LIMIT} files")
        if not wanted:
            return dict(value)
        try:
            await finish_in_thread(_make_folder, folder)
            paths = await self._fetch_all(wanted, folder, account, budget or RetryBudget())
        except BaseException:
            await finish_in_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        return with_paths(value, paths)

    async def _fetch_all(
        self, wanted: tuple[InputFileUrl, ...], folder: Path, account: str, budget: RetryBudget
    ) -> dict[InputFileUrl, str]:
        paths: dict[InputFileUrl, str] = {}

        async def fetch(each: InputFileUrl) -> None:
            paths[each] = str(await self._fetch(each, folder, account, budget))

        try:
            async with asyncio.TaskGroup() as group:
                for each in wanted:
                    group.create_task(fetch(each), name=f"input {each.field}")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return paths

    async def _fetch(self, wanted: InputFileUrl, folder: Path, account: str, budget: RetryBudget) -> Path:
        retries, external = self._objects.retries(budget), _ExternalRetries()
        try:
            while True:
                try:
                    async with self._slots:  # released while it waits for another try
                        return await self._try(wanted.url, folder, account)
                except EgressError as error:
                    if not await external.wait(error):
                        raise
                except (ObjectStoreError, aiohttp.ClientError) as error:
                    passing = not isinstance(error, ObjectStoreError) or error.passing
                    if not passing or not await retries.wait(str(error)):
                        raise
        except (_FileUnavailable, EgressError, UnsupportedUrl) as error:
            raise InputFetchError(wanted.field, str(error)) from None
        except SpoolTooLarge as error:
            raise InputFetchError(wanted.field, f"it is larger than {error.limit_bytes} bytes") from None
        except (ObjectStoreError, aiohttp.ClientError):
            raise InputFetchError(wanted.field, "our own store did not give it") from None
        except TRANSIENT_ERRORS:
            raise InputFetchError(wanted.field, "the worker could not look it up or store it") from None

    async def _try(self, url: str, folder: Path, account: str) -> Path:
        own = Path(await finish_in_thread(_make_own_folder, folder))
        async with self._open(url, account) as opened:
            path = own / name_for(opened.name, opened.content_type)
            file = FileIO(path, "xb")
            try:
                await spool(opened.chunks, file, limit_bytes=INPUT_FILE_LIMIT_BYTES)
                path.chmod(FILE_MODE)
            finally:
                file.close()
        return path

    @asynccontextmanager
    async def _open(self, url: str, account: str) -> AsyncIterator[_IncomingFile]:
        source = source_of(url, self._public_urls)
        if isinstance(source, DataUri):
            yield await _data(source)
        elif isinstance(source, ExternalUrl):
            limit = INPUT_FILE_LIMIT_BYTES
            async with self._egress.fetch(source.url, limit_bytes=limit, timeout_s=FETCH_TIMEOUT_S) as download:
                yield _IncomingFile(download.filename, download.content_type, download.chunks)
        else:
            name, content_type, key = await self._stored(source, account)
            try:
                async with self._objects.get(key) as response:
                    yield _IncomingFile(name, content_type, response.content.iter_chunked(CHUNK_BYTES))
            except ObjectMissing:
                raise _FileUnavailable("it does not exist or is not yours") from None

    async def _stored(self, source: UploadedFile | DeliveredOutput, account: str) -> tuple[str, str, str]:
        """Return name, content type and object key."""
        if isinstance(source, DeliveredOutput):
            try:
                key = self._delivery_key(source.url)
            except InvalidCapability:
                raise _FileUnavailable("it does not exist any more") from None
            return PurePosixPath(key).name, "", key
        row = await retry_transient(
            "input file",
            lambda: input_store.uploaded_file(self._database, source.file_id, account),
            give_up_s=DATABASE_PATIENCE_S,
        )
        if row is None:
            raise _FileUnavailable("it does not exist or is not yours")
        return row["name"], row["content_type"], row["object_key"]


async def _data(source: DataUri) -> _IncomingFile:
    try:
        data = await asyncio.to_thread(data_uris.decode, source.uri)
    except InvalidDataUri as error:
        raise _FileUnavailable(str(error)) from None

    async def chunks() -> AsyncIterator[bytes]:
        yield data.content

    return _IncomingFile("file", data.content_type, chunks())


class _ExternalRetries:
    """The retries of one file from an external server."""

    def __init__(self) -> None:
        self._left = TRIES - 1
        self._waits = backoffs()
        self._asked_to_wait_s = 0.0

    async def wait(self, error: EgressError) -> bool:
        """Wait before another try. Return False if another try is useless or would come too late."""
        status = error.status if isinstance(error, EgressFailed) else None
        passing = isinstance(error, EgressTimeout | EgressFailed) and (
            status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
        )
        asked_s = error.retry_after_s if isinstance(error, EgressFailed) else None
        wait = max(next(self._waits), asked_s or 0.0)
        if asked_s is None:
            self._left -= 1
        else:
            self._asked_to_wait_s += wait
        if not passing or self._left < 0 or self._asked_to_wait_s > BUSY_LIMIT_S:
            return False
        await asyncio.sleep(wait)
        return True


def name_for(name: str, content_type: str) -> str:
    """Return a safe file name. Its suffix, or that of the media type, is kept: programs rely on it."""
    safe = filename(None, name).lstrip(".-") or "file"
    path = PurePosixPath(safe)
    suffix = path.suffix if len(path.suffix) <= NAME_LIMIT_CHARS // 2 else ""
    stem = safe.removesuffix(suffix)[: NAME_LIMIT_CHARS - len(suffix)]
    return f"{stem}{suffix or media_suffixes.suffix(content_type)}"


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)


def _make_own_folder(folder: Path) -> str:
    """Make a folder for one file, so that equal names do not collide."""
    own = tempfile.mkdtemp(dir=folder, prefix="")
    Path(own).chmod(FOLDER_MODE)
    return own
