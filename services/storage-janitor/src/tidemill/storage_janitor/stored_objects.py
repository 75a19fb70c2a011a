"""Keys and ages of objects in the store. Pure; times are unix seconds.

A key names the owner of its object: outputs/<prediction>/…, blobs/<digest>; files/… and incoming/… by the whole key.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

OUTPUTS: Final = "outputs/"
BLOBS: Final = "blobs/"
UPLOADS: Final = ("files/", "incoming/")

ItemT = TypeVar("ItemT")


class StoredObject(NamedTuple):
    """An object of the store."""

    key: str
    modified_at: float

    @property
    def owner(self) -> str:
        """Return the prediction or digest in the key; empty if there is none."""
        return self.key.split("/", 2)[1]


def output_prefix(prediction_id: str) -> str:
    return f"{OUTPUTS}{prediction_id}/"


def older_than(objects: Iterable[StoredObject], now: float, age_s: float) -> list[StoredObject]:
    return [stored for stored in objects if now - stored.modified_at > age_s]


def batches(items: Sequence[ItemT], size: int) -> Iterator[Sequence[ItemT]]:
    return (items[start : start + size] for start in range(0, len(items), size))
