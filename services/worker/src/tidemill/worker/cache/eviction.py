"""Decides what to remove from the cache of model files so that it fits its limit. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class CachedBlob(NamedTuple):
    """`links` is the file's link count: its own name and one for each version that has it. `size` in bytes."""

    name: str
    size: int
    links: int
    stored_at: float
    wanted: bool = False  # by a version that is being made now


class CachedVersion(NamedTuple):
    queue: str
    used_at: float
    blobs: tuple[int, ...]  # the key of each file's blob; one may occur several times


class Removals(NamedTuple):
    """Remove the versions first: a blob goes when no version has it any more."""

    queues: tuple[str, ...]
    blobs: tuple[str, ...]
    freed_bytes: int


def plan(blobs: Mapping[int, CachedBlob], idle: Sequence[CachedVersion], limit_bytes: int) -> Removals:
    """Choose blobs without a version first, the oldest before the others; then the versions used longest ago.

    `idle` holds the versions that nothing uses. Versions in use only show in the link counts.
    """
    excess = sum(blob.size for blob in blobs.values()) - limit_bytes
    links = {key: blob.links for key, blob in blobs.items()}
    queues: list[str] = []
    gone: list[CachedBlob] = []
    orphans = sorted((blob for blob in blobs.values() if blob.links == 1), key=lambda blob: blob.stored_at)
    for blob in orphans:
        if excess > 0 and not blob.wanted:
            gone.append(blob)
            excess -= blob.size
    for version in sorted(idle, key=lambda version: version.used_at):
        if excess <= 0:
            break
        queues.append(version.queue)
        for key in version.blobs:
            if key not in links:  # a copy, made when a blob had too many links
                continue
            links[key] -= 1
            if links[key] == 1 and not blobs[key].wanted:
                gone.append(blobs[key])
                excess -= blobs[key].size
    return Removals(tuple(queues), tuple(blob.name for blob in gone), sum(blob.size for blob in gone))
