"""Brings the files that an input names into a folder that a local model can read.

Unlike the worker it fetches any URL: the URL, the machine and the network belong to the same user.
"""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx

from tidemill.cli.errors import CommandError
from tidemill.hosting.files import data_uris, media_suffixes
from tidemill.hosting.files.file_fields import InputFileUrl, NotAFile, file_fields, input_files, with_paths
from tidemill.security.data_uri_syntax import InvalidDataUri

TIMEOUT: Final = httpx.Timeout(300.0, connect=10.0)
FILE_MODE: Final = 0o444
FOLDER_MODE: Final = 0o755  # the model may run as another user


async def fetch(
    value: Mapping[str, Any], schema: Mapping[str, Any], folder: Path, *, allow_file_urls: bool
) -> dict[str, Any]:
    """Return the input with paths below `folder`. Raise CommandError.

    file: URLs are read only with `allow_file_urls`: a page in a browser may send requests to a server here.
    """
    try:
        wanted = input_files(file_fields(schema), value)
    except NotAFile as error:
        raise CommandError(f"the input {error.field} must be a URL or a file") from None
    paths = {}
    for number, each in enumerate(wanted):
        target_folder = folder / str(number)
        await asyncio.to_thread(target_folder.mkdir, FOLDER_MODE)
        paths[each] = str(await _fetch(each, target_folder, allow_file_urls=allow_file_urls))
    return with_paths(value, paths)


async def _fetch(wanted: InputFileUrl, target_folder: Path, *, allow_file_urls: bool) -> Path:
    scheme = urlsplit(wanted.url).scheme
    try:
        if scheme == "data":
            path = await asyncio.to_thread(_written, wanted.url, target_folder)
        elif scheme == "file" and allow_file_urls:
            source = Path(unquote(urlsplit(wanted.url).path))
            path = Path(await asyncio.to_thread(shutil.copyfile, source, target_folder / source.name))
        elif scheme in {"http", "https"}:
            path = await _downloaded(wanted.url, target_folder)
        else:
            raise CommandError(f"the input {wanted.field} must be an http, https or data URL")
    except (OSError, httpx.HTTPError, InvalidDataUri) as error:
        raise CommandError(f"the input {wanted.field} cannot be had: {error}") from None
    await asyncio.to_thread(path.chmod, FILE_MODE)
    return path


def _written(uri: str, target_folder: Path) -> Path:
    data = data_uris.decode(uri)
    path = target_folder / f"file{media_suffixes.suffix(data.content_type)}"
    path.write_bytes(data.content)
    return path


async def _downloaded(url: str, target_folder: Path) -> Path:
    path = target_folder / (PurePosixPath(unquote(urlsplit(url).path)).name or "file")
    async with (
        httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=True) as client,
        client.stream("GET", url) as response,
    ):
        response.raise_for_status()
        with path.open("wb") as target:
            async for chunk in response.aiter_bytes():
                target.write(chunk)
    return path
