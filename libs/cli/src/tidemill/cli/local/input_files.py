"""Files that an input names, brought to a folder that a model running here can read; for an author's own machine.

Unlike the worker's, this fetches whatever URL its user names: it is their machine and their network.
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
from tidemill.hosting.files.file_fields import InputFile, NotAFile, file_fields, input_files, with_paths
from tidemill.security.data_uri_syntax import InvalidDataUri

TIMEOUT: Final = httpx.Timeout(300.0, connect=10.0)
FILE_MODE: Final = 0o444
FOLDER_MODE: Final = 0o755  # the model may run under a uid of its own


async def fetch(
    value: Mapping[str, Any], schema: Mapping[str, Any], folder: Path, *, of_this_machine: bool
) -> dict[str, Any]:
    """The input with paths below `folder`. file: URLs are heard only with `of_this_machine`: a page in a browser may
    speak to a server here. Raises CommandError.
    """
    try:
        wanted = input_files(file_fields(schema), value)
    except NotAFile as error:
        raise CommandError(f"the input {error.field} must be a URL or a file") from None
    paths = {}
    for number, each in enumerate(wanted):
        place = folder / str(number)
        await asyncio.to_thread(place.mkdir, FOLDER_MODE)
        paths[each] = str(await _fetch(each, place, of_this_machine=of_this_machine))
    return with_paths(value, paths)


async def _fetch(wanted: InputFile, place: Path, *, of_this_machine: bool) -> Path:
    scheme = urlsplit(wanted.url).scheme
    try:
        if scheme == "data":
            path = await asyncio.to_thread(_written, wanted.url, place)
        elif scheme == "file" and of_this_machine:
            source = Path(unquote(urlsplit(wanted.url).path))
            path = Path(await asyncio.to_thread(shutil.copyfile, source, place / source.name))
        elif scheme in {"http", "https"}:
            path = await _downloaded(wanted.url, place)
        else:
            raise CommandError(f"the input {wanted.field} must be an http, https or data URL")
    except (OSError, httpx.HTTPError, InvalidDataUri) as error:
        raise CommandError(f"the input {wanted.field} cannot be had: {error}") from None
    await asyncio.to_thread(path.chmod, FILE_MODE)
    return path


def _written(uri: str, place: Path) -> Path:
    data = data_uris.decode(uri)
    path = place / f"file{media_suffixes.suffix(data.content_type)}"
    path.write_bytes(data.content)
    return path


async def _downloaded(url: str, place: Path) -> Path:
    path = place / (PurePosixPath(unquote(urlsplit(url).path)).name or "file")
    async with (
        httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=True) as client,
        client.stream("GET", url) as response,
    ):
        response.raise_for_status()
        with path.open("wb") as target:
            async for chunk in response.aiter_bytes():
                target.write(chunk)
    return path
