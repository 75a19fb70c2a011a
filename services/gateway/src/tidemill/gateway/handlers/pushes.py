"""Pushes: upload of a version's files. An extension: Replicate has no API for it.

A push lists its files; the client uploads the missing ones as blobs; then a worker builds the version.
"""

import asyncio
import re
from typing import Final, Protocol

import msgspec
import nats
from aiohttp import web
from msgspec import UNSET

from tidemill.contracts import subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.api.pushes import Blob, CreatePush, Push
from tidemill.contracts.errors import Problem, bad_request, not_found, throttled, unprocessable
from tidemill.contracts.events import PushQueued
from tidemill.contracts.ids import is_id, new_id
from tidemill.contracts.limits import BUNDLE_FILE_LIMIT_BYTES, GIB, MANIFEST_LIMIT_BYTES
from tidemill.gateway import stores
from tidemill.gateway.call import BYTES, Call, decode, json_response, operation, refuse_encoded
from tidemill.gateway.files.spool import Spool
from tidemill.gateway.files.uploads import body_chunks
from tidemill.gateway.limits.rates import REFUSED
from tidemill.gateway.protocols import HasBus, HasConfig, HasDatabase, HasObjects
from tidemill.runtime.clock import rfc3339
from tidemill.security.bundle_paths import BundleError, check_paths

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
NO_STORE: Final = {"Cache-Control": "no-store"}
UPLOADING_LIMIT: Final = 100  # per account: each stores a list of files of up to 32 MB; a day of retries needs fewer
RETRY_S: Final = 30  # by then one of several builds has ended


class PushParts(HasDatabase, HasBus, HasObjects, HasConfig, Protocol): ...


@operation("pushes.create", Scope.MODELS_WRITE, body=CreatePush, response=Push, status=201, errors=(413,))
async def create(call: Call[PushParts]) -> web.Response:
    """Begin a push: the files of a version to be.

    Those that are missing are uploaded next; it is queued at once when none is.
    """
    parts = call.parts
    model_id = await stores.models.find_own_id(parts.database, call.account.id, call.path("owner"), call.path("name"))
    if model_id is None:
        raise not_found()
    await _refuse_too_many(call)
    # In a thread: checking 100,000 files would block the event loop noticeably.
    files = await asyncio.to_thread(_checked, await call.read(MANIFEST_LIMIT_BYTES))
    push_id = new_id()
    await stores.pushes.create(parts.database, push_id, call.account.id, model_id, files)
    missing = await stores.pushes.missing_digests(parts.database, push_id)
    if not missing:
        await _queue(call, push_id)
    return json_response(await _push(call, push_id), 201, {**NO_STORE, **call.location(f"/pushes/{push_id}")})


def _checked(body: bytes) -> str:
    """Return the manifest to store: JSON of the files. Raise the 422 problem for an invalid bundle."""
    files = decode(body, CreatePush).files
    sizes: dict[str, int] = {}
    try:
        check_paths([(file.path, file.size) for file in files])
    except BundleError as error:
        raise unprocessable(str(error), "Invalid bundle") from None
    for file in files:
        if sizes.setdefault(file.sha256, file.size) != file.size:
            raise unprocessable(f"{file.sha256} is given with two sizes", "Invalid bundle")
    return msgspec.json.encode(files).decode()


@operation("pushes.get", Scope.MODELS_WRITE, response=Push)
async def get(call: Call[PushParts]) -> web.Response:
    """Get a push."""
    return json_response(await _push(call, call.path("id")), headers=NO_STORE)


@operation("pushes.start", Scope.MODELS_WRITE, response=Push, errors=(422,))
async def start(call: Call[PushParts]) -> web.Response:
    """Start a push when everything is uploaded. One that has started is answered as it is.

    While it is `queued` it has a `queue_position`. Pushes are built fairly over accounts: the first of each account
    before the second of any. An account may have 10 that wait or are built; one more answers a 429.
    """
    push = await _push(call, call.path("id"))
    if push.status == "uploading":
        if push.missing:
            detail = f"{len(push.missing)} files have not been uploaded, or are not of the size given."
            raise Problem(422, detail, "Files are missing", extra={"missing": push.missing})
        await _queue(call, push.id)
        push = await _push(call, push.id)
    return json_response(push, headers=NO_STORE)


async def _queue(call: Call[PushParts], push_id: str) -> None:
    database, account = call.parts.database, call.account.id
    await stores.pushes.enqueue(database, push_id, account, _limit(call))
    push = await stores.pushes.find(database, push_id, account)
    if push is not None and push["status"] == "uploading":
        raise _too_many_waiting(call)
    try:
        await call.parts.bus.send(subjects.PUSH_QUEUED, PushQueued(id=push_id))
    except nats.errors.Error:
        return  # only a hint: workers also poll for queued pushes


def _limit(call: Call[PushParts]) -> int | None:
    return None if call.account.allowances is None else call.parts.config.waiting_pushes


async def _refuse_too_many(call: Call[PushParts]) -> None:
    """Raise the 429 problem early, before the client uploads files in vain."""
    limit = _limit(call)
    if limit is None:
        return
    found = await stores.pushes.count_open(call.parts.database, call.account.id)
    if found.waiting >= limit:
        raise _too_many_waiting(call)
    if found.uploading >= UPLOADING_LIMIT:
        raise _too_many(
            f"{found.uploading} of your pushes have not got all their files, as many as an account may have. Finish "
            "them with POST /pushes/{id}/start, or wait until they are given up, a day after they were made."
        )


def _too_many_waiting(call: Call[PushParts]) -> Problem:
    return _too_many(
        f"{call.parts.config.waiting_pushes} of your pushes wait or are being built, as many as an account may have. "
        "Push again when one of them has ended: GET /pushes/{id} tells the place of each."
    )


def _too_many(why: str) -> Problem:
    REFUSED.labels("pushes").inc()
    return throttled(RETRY_S, f"Request was throttled. {why}")


@operation(
    "blobs.put", Scope.MODELS_WRITE, body=BYTES, response=Blob, status=201, also_statuses=(200,), errors=(411, 413, 415)
)
async def put_blob(call: Call[PushParts]) -> web.Response:
    """PUT /blobs/{sha256}: one file of a bundle; repeating it is harmless. 422 when the bytes are not those named.

    The bytes are read and hashed also when another account has them stored already: that is the proof of having them.
    """
    digest, parts = call.path("sha256"), call.parts
    if DIGEST.fullmatch(digest) is None:
        raise not_found()
    refuse_encoded(call.request)
    length = _length(call.request)
    known = await stores.pushes.has_blob(parts.database, call.account.id, digest)
    with Spool.opened(length, bad_request("More bytes came than announced.")) as spool:
        async for chunk in body_chunks(call.request.content):
            if not known:
                await spool.add(chunk)
        if not known:
            await _keep(call, digest, spool)
    return json_response(Blob(digest, length), 200 if known else 201, call.location(f"/blobs/{digest}"))


def _length(request: web.Request) -> int:
    length = request.content_length
    if length is None:
        raise Problem(411, "Content-Length is required.", "Length required")
    if length > BUNDLE_FILE_LIMIT_BYTES:
        raise Problem(413, f"A file of a bundle may have at most {BUNDLE_FILE_LIMIT_BYTES // GIB} GiB.")
    return length


async def _keep(call: Call[PushParts], digest: str, spool: Spool) -> None:
    if spool.sha256 != digest:
        raise unprocessable(f"The sha256 of the bytes received is {spool.sha256}.", "Digest mismatch")
    await spool.store(call.parts.objects, f"blobs/{digest}", "application/octet-stream")
    await stores.pushes.add_blob(call.parts.database, call.account.id, digest, spool.size)


async def _push(call: Call[PushParts], push_id: str) -> Push:
    database = call.parts.database
    row = await stores.pushes.find(database, push_id, call.account.id) if is_id(push_id) else None
    if row is None:
        raise not_found()
    place = await stores.pushes.queue_position(database, push_id) if row["status"] == "queued" else None
    return Push(
        id=row["id"],
        model=row["model"],
        status=row["status"],
        queue_position=UNSET if place is None else place,
        missing=await stores.pushes.missing_digests(database, push_id) if row["status"] == "uploading" else [],
        version=row["version"],
        error=row["error"],
        warnings=row["warnings"],
        logs=row["logs"],
        created_at=rfc3339(row["created_at"].timestamp()),
        completed_at=None if row["completed_at"] is None else rfc3339(row["completed_at"].timestamp()),
    )
