"""What to remove from the cache of model files so that it fits: a pure decision over what lies on the disk."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class CachedBlob(NamedTuple):
    """`links` counts the names of the file: its own and one for each version that has it. Sizes in bytes."""

    name: str
    size: int
    links: int
    stored_at: float
    wanted: bool = False  # by a version that is being made right now


class CachedVersion(NamedTuple):
    queue: str
    used_at: float
    blobs: tuple[int, ...]  # a key of the blobs for each file; one may come several times


class Removals(NamedTuple):
    """Versions first: a blob goes when no version has it any more."""

    queues: tuple[str, ...]
    blobs: tuple[str, ...]
    freed_bytes: int


def plan(blobs: Mapping[int, CachedBlob], idle: Sequence[CachedVersion], limit_bytes: int) -> Removals:
    """Blobs that no version has go first, the oldest before the others; then the versions that were used longest ago.

    `idle` are the versions that nothing uses; the others are only seen as links.
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
