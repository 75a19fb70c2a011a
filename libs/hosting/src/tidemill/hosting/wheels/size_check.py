"""Judges what a resolver has chosen, before anything of it is unpacked."""

import asyncio
import itertools
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from tidemill.hosting.threads import finish_in_thread
from tidemill.hosting.wheels.archive_listing import ListingTooLong, chosen, contents
from tidemill.hosting.wheels.limits import Contents, Wheel, harmless, refusal, refusal_together

WHEELS_OF_A_FOLDER: Final = 10_000  # that are looked at; a folder of an operator's own wheels has hundreds
LOOK_AT_ONCE: Final = 4  # at lists of files; each may take some 100 MB of memory for a moment


class Refusal(NamedTuple):
    """Why the wheels are not installed, and the packages of which something may lie unpacked already."""

    reason: str
    packages: tuple[str, ...]


async def why_refused(lock: bytes, limit_bytes: int) -> Refusal | None:
    """Return why the wheels of this pylock.toml are too large, by their own lists of files, or None."""
    wheels = [wheel for wheel in chosen(lock) if not harmless(wheel)]
    looking = asyncio.Semaphore(LOOK_AT_ONCE)

    async def look(wheel: Wheel) -> tuple[Wheel, Contents | None, str | None]:
        async with looking:
            try:
                found = await finish_in_thread(contents, wheel.url)
            except ListingTooLong as error:
                return wheel, None, f"{wheel}: {error}"
        return wheel, found, None if found is None else refusal(wheel, found)

    looked_at = await asyncio.gather(*map(look, wheels))
    refused = next((reason for _, _, reason in looked_at if reason is not None), None)
    found = [(wheel, contents) for wheel, contents, _ in looked_at if contents is not None]
    reason = refused or refusal_together(found, limit_bytes)
    return None if reason is None else Refusal(reason, tuple(dict.fromkeys(wheel.name for wheel in wheels)))


def banned(places: Iterable[str]) -> dict[str, str]:
    """Return a constraint for each wheel of these folders that must not be unpacked, with the reason. Blocking.

    A resolver unpacks wheels of a folder to learn what they need, so that these are judged before it runs.
    """
    found = {}
    for folder in filter(None, map(_folder, places)):
        for path in itertools.islice(sorted(folder.glob("*.whl")), WHEELS_OF_A_FOLDER):
            try:
                name, version, *_ = parse_wheel_filename(path.name)
                wheel = Wheel(name, str(version), path.absolute().as_uri(), path.stat().st_size)
                listed = None if harmless(wheel) else contents(wheel.url)
                reason = None if listed is None else refusal(wheel, listed)
            except (InvalidWheelFilename, FileNotFoundError):
                continue
            except ListingTooLong as error:
                reason = f"{wheel}: {error}"
            if reason is not None:
                found[f"{name}!={version}"] = reason
    return found


def _folder(place: str) -> Path | None:
    """Of a place to look for wheels in; None for one that is elsewhere."""
    if place.startswith("file:"):
        place = urllib.request.url2pathname(urllib.parse.urlsplit(place).path)
    path = Path(place)
    return path if path.is_dir() else None
