"""One gateway's books of what accounts have taken: it admits on what it knows, and owes the shared record the rest.

Pure; times are seconds of one monotonic clock. A gateway may owe a small part of an account's burst, so several
gateways together admit at most that part each too much, and as the record counts all that was admitted, an account that
got too much waits that much longer. Nothing is reserved, so nothing is lost when it is not used.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.allowances import RateKind
from tidemill.gateway.limits.gcra import Rate, Verdict

OWED_SHARE: Final = 0.02  # of the burst, by gateway: four gateways are within 8 %
KNOWN_FOR_S: Final = 0.25  # what costs more than may be owed is decided on knowledge no older than this
METERS_LIMIT: Final = 20_000  # accounts that were here lately; an idle one is forgotten first


# What becomes of a request beyond what may be owed: the record is asked first; or, when that is slow, it is owed all
# the same; or, when the record is away and each gateway limits by itself, nobody pays for it later.
Beyond = Literal["ask", "owe", "forget"]


class RateKey(NamedTuple):
    account: str
    kind: RateKind


class Debt(NamedTuple):
    """What one allowance owes the record. 0 asks for the record alone."""

    key: RateKey
    seconds: float


class Meter(msgspec.Struct):
    """`full_at` as in gcra, with all that is owed counted."""

    full_at: float
    owed_s: float = 0.0
    known_at: float = float("-inf")


class Ledger:
    def __init__(self) -> None:
        self._meters: dict[RateKey, Meter] = {}
        self._unsettled: dict[RateKey, None] = {}  # in the order in which they came up

    def __len__(self) -> int:
        return len(self._meters)

    @property
    def unsettled(self) -> bool:
        return bool(self._unsettled)

    def take(self, key: RateKey, rate: Rate, cost: int, now: float, *, beyond: Beyond = "ask") -> Verdict | None:
        """None: the record must be asked first."""
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
            self._forget(now)
        meter = self._meters[key] = Meter(now)
        return meter

    def _forget(self, now: float) -> None:
        """Those whose burst is whole; were all of them busy, those that owe nothing: the record knows them."""
        busy = {key: each for key, each in self._meters.items() if each.owed_s or each.full_at > now}
        if len(busy) >= METERS_LIMIT:
            busy = {key: each for key, each in busy.items() if each.owed_s}
        self._meters = busy

    def pressing(self, key: RateKey, rate: Rate) -> bool:
        """Half of what it may owe is owed: it should be settled before requests have to wait for that."""
        meter = self._meters.get(key)
        return meter is not None and meter.owed_s * 2 + gcra.ROUNDING_S >= owed_limit(rate) * rate.interval_s

    def debts(self, limit: int) -> list[Debt]:
        """What is to be settled now, sorted: two gateways that lock the same rows must do so in the same order."""
        keys = sorted(list(self._unsettled)[:limit])
        return [Debt(key, self._meters[key].owed_s if key in self._meters else 0.0) for key in keys]

    def settled(self, debts: Iterable[Debt], full_in_s: dict[RateKey, float], now: float) -> None:
        """The record has them. `full_in_s`: what it says since, of all gateways, as of `now`."""
        for key, seconds in debts:
            meter = self._meters.get(key) or self._new(key, now)
            owed_s = meter.owed_s - seconds  # taken meanwhile
            meter.owed_s = owed_s if owed_s > gcra.ROUNDING_S else 0.0
            meter.full_at = now + max(full_in_s.get(key, 0.0), 0.0) + meter.owed_s
            meter.known_at = now
            if not meter.owed_s:
                self._unsettled.pop(key, None)


def owed_limit(rate: Rate) -> int:
    """How many a gateway may admit of its own accord; for a burst of less than some seconds' worth so few that requests
    wait for settlements.
    """
    return max(1, int(rate.burst * OWED_SHARE))
