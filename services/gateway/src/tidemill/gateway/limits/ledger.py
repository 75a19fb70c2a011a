"""One gateway's view of the rates: it admits requests on its own knowledge, and later adds them to the shared record.

Pure; times are seconds of one monotonic clock. What is admitted and not added yet is owed to the record (table
`allowance`). A gateway may owe a small part of an account's burst, so each gateway admits at most that part too much.
The record counts all that was admitted, so an account that got too much waits that much longer. Nothing is reserved,
so nothing is lost when it is not used.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.allowances import RateKind
from tidemill.gateway.limits.gcra import Rate, Verdict

OWED_SHARE: Final = 0.02  # of the burst, for each gateway: four gateways are within 8 %
KNOWN_FOR_S: Final = 0.25  # a cost above what may be owed is decided on a state of the record no older than this
METERS_LIMIT: Final = 20_000  # accounts in memory; idle ones are evicted first


# What to do with a request above what may be owed. "ask": ask the record first. "owe": owe it nevertheless, when the
# record is slow. "forget": admit it without owing, when the record cannot be reached and each gateway limits by itself.
Beyond = Literal["ask", "owe", "forget"]


class RateKey(NamedTuple):
    account: str
    kind: RateKind


class Debt(NamedTuple):
    """What is owed to the record for one rate. 0 only reads the record."""

    key: RateKey
    seconds: float


class Meter(msgspec.Struct):
    """`full_at` as in gcra, including what is owed. `known_at`: when the record was last read."""

    full_at: float
    owed_s: float = 0.0
    known_at: float = float("-inf")


class Ledger:
    def __init__(self) -> None:
        self._meters: dict[RateKey, Meter] = {}
        self._unsettled: dict[RateKey, None] = {}  # in the order of their first request

    def __len__(self) -> int:
        return len(self._meters)

    @property
    def unsettled(self) -> bool:
        return bool(self._unsettled)

    def take(self, key: RateKey, rate: Rate, cost: int, now: float, *, beyond: Beyond = "ask") -> Verdict | None:
        """Return the decision. None: ask the record first, then take again."""
        meter = self._meters.get(key) or self._new(key, now)
        full_at, verdict = gcra.take(meter.full_at, now, rate, cost)
        if not verdict.admitted:
            return verdict
        self._unsettled[key] = None
        within = self._has_credit(meter, rate, cost, now)
        if beyond == "ask" and not within:
            return None
        meter.full_at = full_at
        if within or beyond == "owe":
            meter.owed_s += cost * rate.interval_s
        return verdict

    def _has_credit(self, meter: Meter, rate: Rate, cost: int, now: float) -> bool:
        most = owed_limit(rate)
        if cost > most:
            return now - meter.known_at <= KNOWN_FOR_S
        return meter.owed_s + (cost - most) * rate.interval_s <= gcra.ROUNDING_S

    def _new(self, key: RateKey, now: float) -> Meter:
        if len(self._meters) >= METERS_LIMIT:
            self._evict(now)
        meter = self._meters[key] = Meter(now)
        return meter

    def _evict(self, now: float) -> None:
        """Remove meters whose burst is whole; if all are busy, those that owe nothing: the record has their state."""
        busy = {key: each for key, each in self._meters.items() if each.owed_s or each.full_at > now}
        if len(busy) >= METERS_LIMIT:
            busy = {key: each for key, each in busy.items() if each.owed_s}
        self._meters = busy

    def is_pressing(self, key: RateKey, rate: Rate) -> bool:
        """Whether half of what may be owed is owed: settle now, before requests have to wait for it."""
        meter = self._meters.get(key)
        return meter is not None and meter.owed_s * 2 + gcra.ROUNDING_S >= owed_limit(rate) * rate.interval_s

    def debts(self, limit: int) -> list[Debt]:
        """Return what to settle now, sorted: gateways must lock the same rows in one order, which avoids deadlocks."""
        keys = sorted(list(self._unsettled)[:limit])
        return [Debt(key, self._meters[key].owed_s if key in self._meters else 0.0) for key in keys]

    def settled(self, debts: Iterable[Debt], full_in_s: dict[RateKey, float], now: float) -> None:
        """The record has the debts. `full_in_s`: the state of the record, of all gateways, as of `now`."""
        for key, seconds in debts:
            meter = self._meters.get(key) or self._new(key, now)
            owed_s = meter.owed_s - seconds  # taken in the meantime
            meter.owed_s = owed_s if owed_s > gcra.ROUNDING_S else 0.0
            meter.full_at = now + max(full_in_s.get(key, 0.0), 0.0) + meter.owed_s
            meter.known_at = now
            if not meter.owed_s:
                self._unsettled.pop(key, None)


def owed_limit(rate: Rate) -> int:
    """Return how many requests a gateway may owe. With a burst of less than some seconds' worth these are so few that
    requests wait for settlements.
    """
    return max(1, int(rate.burst * OWED_SHARE))
