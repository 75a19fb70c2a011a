"""Copies of the files in a prediction's input, for predictions that are kept: examples and shared predictions.

An upload is deleted after a day, and an output of another prediction together with that prediction.
"""

import re
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from tidemill.contracts.errors import Problem, conflict
from tidemill.contracts.ids import is_id
from tidemill.gateway import stores
from tidemill.gateway.call import Call
from tidemill.gateway.files.downloads import STORING_S, store_unavailable
from tidemill.gateway.protocols import HasDatabase, HasObjects, HasPublicUrls, HasSigningKey
from tidemill.gateway.responses.url_renewal import UrlRenewer
from tidemill.runtime.clock import now
from tidemill.runtime.objects.retries import RetryBudget
from tidemill.runtime.objects.store import ObjectMissing, ObjectStoreError
from tidemill.security.delivery_urls import find_object_key
from tidemill.security.public_urls import PublicUrls

FILES_LIMIT: Final = 50  # of one input; each is a request to the object store
NAME_LIMIT_CHARS: Final = 120  # short enough for object keys and signed URLs
_FILES_PATH: Final = "/files/"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class InputFileParts(HasPublicUrls, HasDatabase, HasObjects, HasSigningKey, Protocol): ...


def strings(value: Any) -> list[str]:
    """Return every string in a JSON value, without keys."""
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in children for text in strings(child)]


def replaced(value: Any, by: dict[str, str]) -> Any:
    if isinstance(value, str):
        return by.get(value, value)
    if isinstance(value, list):
        return [replaced(item, by) for item in value]
    if isinstance(value, dict):
        return {key: replaced(item, by) for key, item in value.items()}
    return value


def upload_id(public_urls: PublicUrls, text: str) -> str | None:
    """Return the id of an upload from its URL under any of our public URLs; None for any other text."""
    try:
        path = public_urls.path_of(urlsplit(text))
    except ValueError:
        return None
    if path is None:
        return None
    path = path.removesuffix("/download").removeprefix("/v1").removeprefix("/v1")
    identifier = path.removeprefix(_FILES_PATH)
    return identifier if path.startswith(_FILES_PATH) and is_id(identifier) else None


class InputFile(NamedTuple):
    """An object that an input refers to, and the name of the file."""

    key: str
    name: str


async def copy_input_files(call: Call[InputFileParts], prediction_id: str, text: str) -> str | None:
    """Copy the files; return the input (JSON) with the URLs of the copies, or None if it refers to no file of ours.

    Raise the 409 and 503 problems. The copies are stored with the prediction's outputs and deleted with them.
    """
    value = msgspec.json.decode(text)
    files = await _input_files(call, {each for each in strings(value) if each.startswith(("http://", "https://"))})
    if not files:
        return None
    if len(files) > FILES_LIMIT:
        raise conflict(f"An example's input may name at most {FILES_LIMIT} files.")
    parts = call.parts
    renewer = UrlRenewer(parts.signing_key, parts.public_urls.first, now())
    urls: dict[str, str] = {}
    for number, (url, file) in enumerate(files.items()):
        target = f"outputs/{prediction_id}/input-{number}/{file.name}"
        await _copy(call, file.key, target)
        urls[url] = renewer.url(target)
    return msgspec.json.encode(replaced(value, urls)).decode()


async def _input_files(call: Call[InputFileParts], urls: set[str]) -> dict[str, InputFile]:
    """Return the files by URL. Raise 409 for an upload that is deleted or belongs to another account."""
    parts = call.parts
    delivered = {url: key for url in urls if (key := find_object_key([parts.signing_key], url, now())) is not None}
    uploads = {url: found for url in urls if (found := upload_id(parts.public_urls, url)) is not None}
    rows = await stores.examples.find_files(parts.database, call.account.id, list(uploads.values())) if uploads else {}
    if any(file_id not in rows for file_id in uploads.values()):
        raise _gone()
    return {
        **{url: InputFile(key, key.rpartition("/")[2]) for url, key in delivered.items()},
        **{url: InputFile(rows[each]["object_key"], _key_safe(rows[each]["name"])) for url, each in uploads.items()},
    }


def _key_safe(name: str) -> str:
    """Return a file's name with the characters that are safe in an object's key and in URLs."""
    return _UNSAFE.sub("_", name).strip(".")[-NAME_LIMIT_CHARS:] or "file"


async def _copy(call: Call[InputFileParts], source: str, target: str) -> None:
    try:
        await call.parts.objects.copy(source, target, RetryBudget(STORING_S))
    except ObjectMissing:
        raise _gone() from None
    except ObjectStoreError:
        raise store_unavailable() from None


def _gone() -> Problem:
    return conflict("A file of the prediction's input is gone: run it again with a file that is there.")
