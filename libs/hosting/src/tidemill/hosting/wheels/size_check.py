"""Checks the wheels that a resolver has chosen before any of them is unpacked."""

import asyncio
import itertools
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from tidemill.hosting.threads import finish_in_thread
from tidemill.hosting.wheels.archive_listing import ListingTooLong, parse_lock, read_contents
from tidemill.hosting.wheels.limits import Wheel, WheelContents, check_together, check_wheel, is_within_limits

FOLDER_LIMIT_WHEELS: Final = 10_000  # checked in a folder; a folder of an operator's own wheels has hundreds
READ_AT_ONCE: Final = 4  # lists of files read at once; each may take 100 MB of memory for a moment


class Refusal(NamedTuple):
    """Why the wheels are not installed, and which packages may have been unpacked already."""

    reason: str
    packages: tuple[str, ...]


async def check_wheels(lock: bytes, limit_bytes: int) -> Refusal | None:
    """Return why the wheels of this pylock.toml are too large by their declared sizes, or None."""
    wheels = [wheel for wheel in parse_lock(lock) if not is_within_limits(wheel)]
    semaphore = asyncio.Semaphore(READ_AT_ONCE)

    async def check(wheel: Wheel) -> tuple[Wheel, WheelContents | None, str | None]:
        async with semaphore:
            try:
                found = await finish_in_thread(read_contents, wheel.url)
            except ListingTooLong as error:
                return wheel, None, f"{wheel}: {error}"
        return wheel, found, None if found is None else check_wheel(wheel, found)

    checked = await asyncio.gather(*map(check, wheels))
    refused = next((reason for _, _, reason in checked if reason is not None), None)
    found = [(wheel, contents) for wheel, contents, _ in checked if contents is not None]
    reason = refused or check_together(found, limit_bytes)
    return None if reason is None else Refusal(reason, tuple(dict.fromkeys(wheel.name for wheel in wheels)))


def find_refused_wheels(find_links: Iterable[str]) -> dict[str, str]:
    """Return, by constraint, why wheels of these folders must not be unpacked. Blocking.

    Resolvers unpack local wheels to read their metadata, so these are checked before the resolver runs.
    """
    found = {}
    for folder in filter(None, map(_folder, find_links)):
        for path in itertools.islice(sorted(folder.glob("*.whl")), FOLDER_LIMIT_WHEELS):
            try:
                name, version, *_ = parse_wheel_filename(path.name)
                wheel = Wheel(name, str(version), path.absolute().as_uri(), path.stat().st_size)
                listed = None if is_within_limits(wheel) else read_contents(wheel.url)
                reason = None if listed is None else check_wheel(wheel, listed)
            except (InvalidWheelFilename, FileNotFoundError):
                continue
            except ListingTooLong as error:
                reason = f"{wheel}: {error}"
            if reason is not None:
                found[f"{name}!={version}"] = reason
    return found


def _folder(link: str) -> Path | None:
    """Return the local folder that `link` names, or None."""
    if link.startswith("file:"):
        link = urllib.request.url2pathname(urllib.parse.urlsplit(link).path)
    path = Path(link)
    return path if path.is_dir() else None
