"""Files in the input of a prediction that becomes an example: copied to where they stay for as long as the example.

An upload lives for a day, and an output of another prediction as long as that one; an example is to be kept.
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
NAME_LIMIT_CHARS: Final = 120  # leaves room in keys and sealed URLs
_FILES_PATH: Final = "/files/"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class InputFileParts(HasPublicUrls, HasDatabase, HasObjects, HasSigningKey, Protocol): ...


def texts(value: Any) -> list[str]:
    """Every text in a JSON value, but keys."""
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in children for text in texts(child)]


def replaced(value: Any, by: dict[str, str]) -> Any:
    if isinstance(value, str):
        return by.get(value, value)
    if isinstance(value, list):
        return [replaced(item, by) for item in value]
    if isinstance(value, dict):
        return {key: replaced(item, by) for key, item in value.items()}
    return value


def upload_id(public_urls: PublicUrls, text: str) -> str | None:
    """The id in the URL of an upload, on whichever base a client has built it; None for any other text."""
    try:
        path = public_urls.path_of(urlsplit(text))
    except ValueError:
        return None
    if path is None:
        return None
    path = path.removesuffix("/download").removeprefix("/v1").removeprefix("/v1")
    identifier = path.removeprefix(_FILES_PATH)
    return identifier if path.startswith(_FILES_PATH) and is_id(identifier) else None


class Source(NamedTuple):
    """An object that an input names, and what the file is called."""

    key: str
    name: str


async def kept(call: Call[InputFileParts], prediction_id: str, text: str) -> str | None:
    """The input (JSON) with URLs of copies; None when it names no file of ours. Raises the 409 and 503 problems.

    The copies lie with the prediction's outputs and go with them.
    """
    value = msgspec.json.decode(text)
    sources = await _sources(call, {each for each in texts(value) if each.startswith(("http://", "https://"))})
    if not sources:
        return None
    if len(sources) > FILES_LIMIT:
        raise conflict(f"An example's input may name at most {FILES_LIMIT} files.")
    parts = call.parts
    renewer = UrlRenewer(parts.signing_key, parts.public_urls.first, now())
    urls: dict[str, str] = {}
    for number, (url, source) in enumerate(sources.items()):
        target = f"outputs/{prediction_id}/input-{number}/{source.name}"
        await _copy(call, source.key, target)
        urls[url] = renewer.url(target)
    return msgspec.json.encode(replaced(value, urls)).decode()


async def _sources(call: Call[InputFileParts], urls: set[str]) -> dict[str, Source]:
    """By URL. An upload that has gone is an error, and so is one of another account, which looks the same."""
    parts = call.parts
    delivered = {url: key for url in urls if (key := find_object_key([parts.signing_key], url, now())) is not None}
    uploads = {url: found for url in urls if (found := upload_id(parts.public_urls, url)) is not None}
    rows = await stores.examples.find_files(parts.database, call.account.id, list(uploads.values())) if uploads else {}
    if any(file_id not in rows for file_id in uploads.values()):
        raise _gone()
    return {
        **{url: Source(key, key.rpartition("/")[2]) for url, key in delivered.items()},
        **{url: Source(rows[each]["object_key"], _plain(rows[each]["name"])) for url, each in uploads.items()},
    }


def _plain(name: str) -> str:
    """A file's name as a part of an object's key, which URLs end with."""
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
