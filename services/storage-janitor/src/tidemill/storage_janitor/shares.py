"""What each account may hold of the stream of events when that is nearly full: an equal share of it. Pure.

Who holds less than its share loses nothing; what that leaves is shared among the others. So one account's load takes
room from no other.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

# The server itself drops the oldest of all accounts when the stream is full, which must not come to pass: what comes
# while the janitor does not look must fit above the mark. At 1 GiB that is 256 MiB, ten seconds at 25 MB/s.
TRIMMED_ABOVE: Final = 0.75
TRIMMED_TO: Final = 0.65


def is_due(held_bytes: int, limit_bytes: int) -> bool:
    return limit_bytes > 0 and held_bytes > limit_bytes * TRIMMED_ABOVE


def sizes(counts: Mapping[str, int], samples: Mapping[str, Sequence[int]], held_bytes: int) -> dict[str, float]:
    """The bytes of each account, by the number of its events and the sizes of some; scaled to what is held in all.

    Of accounts without samples each event is taken to be as large as those of the others on average.
    """
    measured = [size for each in samples.values() for size in each]
    usual = sum(measured) / len(measured) if measured else 1.0
    means = {account: sum(each) / len(each) for account, each in samples.items() if each}
    guessed = {account: count * means.get(account, usual) for account, count in counts.items()}
    whole = sum(guessed.values())
    return {account: each * held_bytes / whole for account, each in guessed.items()} if whole else {}


def level(held: Collection[float], room: float) -> float:
    """The share with which all fit: so much, or what it holds if that is less, is left to each."""
    left, sharers = room, len(held)
    for each in sorted(held):
        if each * sharers > left:
            break
        left -= each
        sharers -= 1
    return left / sharers if sharers else float("inf")


def kept(held: Mapping[str, float], limit_bytes: int) -> dict[str, float]:
    """Which part of its events each account keeps, of those that lose some."""
    share = level(held.values(), limit_bytes * TRIMMED_TO)
    return {account: share / each for account, each in held.items() if each > share}
