"""Fair shares of the event stream per account when the stream is nearly full. Pure.

An account below its share loses nothing; what it leaves unused is shared among the others (max-min fairness). So one
account's load never displaces another account's events.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

# A full stream drops the oldest events of all accounts, which must not happen: the events between two checks must fit
# above this mark. At 1 GiB that is 256 MiB, ten seconds at 25 MB/s.
TRIM_ABOVE: Final = 0.75
TRIM_TO: Final = 0.65


def needs_trim(held_bytes: int, limit_bytes: int) -> bool:
    return limit_bytes > 0 and held_bytes > limit_bytes * TRIM_ABOVE


def estimate_sizes(
    counts: Mapping[str, int], samples: Mapping[str, Sequence[int]], held_bytes: int
) -> dict[str, float]:
    """Estimate the bytes of each account from its number of events and sampled sizes, scaled to the total.

    Events of accounts without samples count with the average size of all samples.
    """
    measured = [size for each in samples.values() for size in each]
    usual = sum(measured) / len(measured) if measured else 1.0
    means = {account: sum(each) / len(each) for account, each in samples.items() if each}
    guessed = {account: count * means.get(account, usual) for account, count in counts.items()}
    whole = sum(guessed.values())
    return {account: each * held_bytes / whole for account, each in guessed.items()} if whole else {}


def fair_share(held: Collection[float], room: float) -> float:
    """Return the share at which all accounts fit: each keeps this much, or what it holds if that is less."""
    left, sharers = room, len(held)
    for each in sorted(held):
        if each * sharers > left:
            break
        left -= each
        sharers -= 1
    return left / sharers if sharers else float("inf")


def kept_fractions(held: Mapping[str, float], limit_bytes: int) -> dict[str, float]:
    """Return the fraction of its events that an account keeps, for each account that loses some."""
    share = fair_share(held.values(), limit_bytes * TRIM_TO)
    return {account: share / each for account, each in held.items() if each > share}
