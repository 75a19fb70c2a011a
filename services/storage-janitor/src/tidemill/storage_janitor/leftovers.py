"""What the keys and ages of objects say. Pure; times in unix seconds.

A key says whose it is: outputs/<prediction>/…, blobs/<digest>, files/… and incoming/… by their whole key.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

OUTPUTS: Final = "outputs/"
BLOBS: Final = "blobs/"
UPLOADS: Final = ("files/", "incoming/")

ItemT = TypeVar("ItemT")


class Stored(NamedTuple):
    """An object of the store."""

    key: str
    modified_at: float

    @property
    def owner(self) -> str:
        """The prediction or the digest that the key names; empty for a key that names none."""
        return self.key.split("/", 2)[1]


def outputs_of(prediction_id: str) -> str:
    return f"{OUTPUTS}{prediction_id}/"


def old(objects: Iterable[Stored], now: float, age_s: float) -> list[Stored]:
    return [stored for stored in objects if now - stored.modified_at > age_s]


def batches(items: Sequence[ItemT], size: int) -> Iterator[Sequence[ItemT]]:
    return (items[start : start + size] for start in range(0, len(items), size))
