"""The limits on what a model's packages unpack to. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from tidemill.contracts.limits import GIB, MIB

WHEEL_LIMIT_BYTES: Final = 8 * GIB  # one wheel; torch with all CUDA code has 5
WHEEL_LIMIT_FILES: Final = 100_000  # one wheel; the largest of an index have some 20,000
ENVIRONMENT_LIMIT_BYTES: Final = 16 * GIB  # all together; torch and tensorflow with CUDA's libraries have 12
ENVIRONMENT_LIMIT_FILES: Final = 400_000  # all together; each takes an inode of the worker's disk
RATIO_LIMIT: Final = 100  # unpacked to packed; programs have 2 to 5, tables of text 30, zip bombs 1,000
RATIO_FREE_BYTES: Final = 64 * MIB  # harmless at any ratio


class Wheel(NamedTuple):
    """A wheel that the resolver chose. `size` is the archive's, if the index tells it."""

    name: str
    version: str
    url: str
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class WheelContents(NamedTuple):
    """The sizes that an archive declares."""

    packed_bytes: int
    unpacked_bytes: int
    files: int


def check_wheel(wheel: Wheel, contents: WheelContents) -> str | None:
    """Return why this wheel must not be unpacked, for the model's author, or None."""
    if contents.unpacked_bytes > WHEEL_LIMIT_BYTES:
        return _says(wheel, f"unpack to {_gib(contents.unpacked_bytes)}", f"{_gib(WHEEL_LIMIT_BYTES)} for one package")
    if contents.files > WHEEL_LIMIT_FILES:
        return _says(wheel, f"unpack to {contents.files:,} files", f"{WHEEL_LIMIT_FILES:,} for one package")
    ratio = contents.unpacked_bytes / max(contents.packed_bytes, 1)
    if contents.unpacked_bytes > RATIO_FREE_BYTES and ratio > RATIO_LIMIT:
        return _says(
            wheel,
            f"unpack to {_gib(contents.unpacked_bytes)}, {ratio:,.0f} times what it has packed",
            f"{RATIO_LIMIT} times",
        )
    return None


def check_together(found: Iterable[tuple[Wheel, WheelContents]], limit_bytes: int) -> str | None:
    """Return why the wheels are too large together, naming the largest, or None. One wheel counts for each package."""
    largest: dict[str, tuple[Wheel, WheelContents]] = {}
    for wheel, contents in found:
        if wheel.name not in largest or contents.unpacked_bytes > largest[wheel.name][1].unpacked_bytes:
            largest[wheel.name] = wheel, contents
    size = sum(contents.unpacked_bytes for _, contents in largest.values())
    files = sum(contents.files for _, contents in largest.values())
    if size <= limit_bytes and files <= ENVIRONMENT_LIMIT_FILES:
        return None
    order = sorted(largest.values(), key=lambda each: -each[1].unpacked_bytes)[:3]
    shown = ", ".join(f"{wheel} {_gib(contents.unpacked_bytes)}" for wheel, contents in order)
    return check_total(size, files, limit_bytes, f" (the largest: {shown})")


def check_total(size: int, files: int, limit_bytes: int, note: str = "") -> str | None:
    """Return why an environment of that size is refused, or None."""
    if size > limit_bytes:
        return f"the packages unpack to {_gib(size)} together; a model's environment may have {_gib(limit_bytes)}{note}"
    if files > ENVIRONMENT_LIMIT_FILES:
        return (
            f"the packages unpack to {files:,} files together; a model's environment may have "
            f"{ENVIRONMENT_LIMIT_FILES:,}{note}"
        )
    return None


def describe_quota(under_way: Iterable[str], limit_bytes: int) -> str:
    """Return why the installer was killed while it unpacked these packages."""
    shown = ", ".join(under_way) or "the packages"
    return f"unpacking {shown} wrote more than the {_gib(limit_bytes)} that a model's environment may have"


def is_within_limits(wheel: Wheel) -> bool:
    """Return whether an archive of that size cannot exceed a limit: deflate compresses 1,032 to 1 at most."""
    return wheel.size is not None and wheel.size * 1032 <= RATIO_FREE_BYTES


def _says(wheel: Wheel, what: str, limit: str) -> str:
    return f"{wheel} would {what}; the limit is {limit}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / MIB:.1f} MiB"
