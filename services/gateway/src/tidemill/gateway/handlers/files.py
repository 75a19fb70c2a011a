"""Uploaded files: create, list, get, delete, download."""

import hmac
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.files import File, FileUrls
from tidemill.contracts.api.pages import Page
from tidemill.contracts.errors import Problem
from tidemill.contracts.ids import is_id, new_id
from tidemill.contracts.limits import FILE_LIFETIME_S, FILE_LIMIT_BYTES
from tidemill.gateway import stores
from tidemill.gateway.call import BYTES, FORM, Call, json_response, operation
from tidemill.gateway.files.downloads import CONDITIONAL_HEADERS, ServedObject, delete_object, serve_object
from tidemill.gateway.files.spool import Spool
from tidemill.gateway.files.uploads import UploadForm, read_form
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasDatabase, HasObjects, HasSigningKey
from tidemill.gateway.responses.pages import page
from tidemill.runtime.clock import now, rfc3339
from tidemill.runtime.db import Row
from tidemill.security.capability import sign_download, verify_download

TOO_LARGE: Final = "Files must be less than 100MB in size"


class FileParts(HasDatabase, HasObjects, HasSigningKey, Protocol): ...


def files_secret(signing_key: bytes, account_id: str) -> bytes:
    """Return the key of an account's download URLs. It is derived: one account's key reveals nothing of another's."""
    return hmac.digest(signing_key, f"files secret\0{account_id}".encode(), "sha256")


@operation("files.create", Scope.FILES_WRITE, body=FORM, response=File, status=201)
async def create(call: Call[FileParts]) -> web.Response:
    """Upload a file. The form has `content`, and `filename`, `type` and `metadata` if wanted."""
    too_large = Problem(413, TOO_LARGE)
    with Spool.opened(FILE_LIMIT_BYTES, too_large) as spool:
        form = await read_form(call.request, spool)
        metadata = msgspec.json.encode(form.labels()).decode()
        row = await _store(call, form, spool, metadata)
    return json_response(_file(call, row), 201, call.location(f"/files/{row['id']}"))


async def _store(call: Call[FileParts], form: UploadForm, spool: Spool, metadata: str) -> Row:
    """Store the object, then the row: the object of a row always exists. The janitor deletes objects without a row."""
    file_id = new_id()
    key = f"files/{file_id}"
    await spool.store(call.parts.objects, key, form.content_type())
    return await stores.files.create(
        call.parts.database,
        file_id,
        call.account.id,
        form.name(),
        form.content_type(),
        spool.size,
        spool.md5,
        spool.sha256,
        metadata,
        key,
        FILE_LIFETIME_S,
    )


@operation("files.list", Scope.FILES_READ, query=queries.PageQuery, response=Page[File])
async def list_(call: Call[FileParts]) -> web.Response:
    """List uploaded files, newest first."""

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.files.page(call.parts.database, call.account.id, cursor, limit)

    return json_response(await page(call, "/files", fetch, lambda row: _file(call, row)))


@operation("files.get", Scope.FILES_READ, response=File)
async def get(call: Call[FileParts]) -> web.Response:
    """Get an uploaded file's description."""
    return json_response(_file(call, await _find_own(call)))


@operation("files.delete", Scope.FILES_WRITE, status=204)
async def delete(call: Call[FileParts]) -> web.Response:
    """Delete an uploaded file."""
    row = await _find_own(call)
    # Delete the object first: in the other order, a crash in between would leave an object without a row.
    await delete_object(call.parts.objects, row["object_key"])
    await stores.files.delete(call.parts.database, row["id"], call.account.id)
    return web.Response(status=204)


@operation(
    "files.download",
    signed=True,
    query=queries.SignatureQuery,
    headers=CONDITIONAL_HEADERS,
    response=BYTES,
    errors=(412,),
)
async def download(call: Call[FileParts]) -> web.StreamResponse:
    """Download a file by its signed URL.

    The file's description has the URL as `urls.download`. The file can be had in parts (`Range`) and on conditions.
    Bad, expired and missing URLs look alike.
    """
    file_id = call.path("id")
    try:
        asked = call.parse_query(queries.SignatureQuery)
    except Problem:
        raise _missing() from None
    row = await stores.files.find_of_owner(call.parts.database, file_id, asked.owner) if is_id(file_id) else None
    if row is None:
        raise _missing()
    secret = files_secret(call.parts.signing_key, row["account_id"])
    if not verify_download([secret], asked.owner, file_id, asked.expiry, signature=asked.signature, now=now()):
        raise _missing()
    served = ServedObject(row["object_key"], row["name"], row["content_type"], row["md5"], row["sha256"])
    return await serve_object(call, served)


async def _find_own(call: Call[FileParts]) -> Row:
    file_id = call.path("id")
    row = await stores.files.find(call.parts.database, file_id, call.account.id) if is_id(file_id) else None
    if row is None:
        raise _missing()
    return row


def _missing() -> Problem:
    return Problem(404, "File not found")


def _file(call: Call[FileParts], row: Row) -> File:
    metadata: dict[str, Any] = msgspec.json.decode(row["metadata"])
    return File(
        id=row["id"],
        name=row["name"],
        content_type=row["content_type"],
        size=row["size"],
        etag=row["md5"],
        checksums={"sha256": row["sha256"], "md5": row["md5"]},
        metadata=metadata,
        created_at=rfc3339(row["created_at"].timestamp()),
        expires_at=rfc3339(row["expires_at"].timestamp()),
        urls=_urls(call, row),
    )


def _urls(call: Call[FileParts], row: Row) -> FileUrls:
    """Return the URLs. The download URL expires with the file, so it is the same in every response."""
    own = f"{call.api_url}/files/{row['id']}"
    owner, expiry = call.account.username, int(row["expires_at"].timestamp())
    secret = files_secret(call.parts.signing_key, call.account.id)
    signature = sign_download(secret, owner, row["id"], expiry)
    query = urlencode({"owner": owner, "expiry": expiry, "signature": signature})
    return FileUrls(get=own, download=f"{own}/download?{query}")
