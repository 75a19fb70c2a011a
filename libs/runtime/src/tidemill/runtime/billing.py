"""What a run costs: a price by the second of the model's hardware, for what is billed by the run.

Written with the outcome, so that a later change of prices changes nothing that has ended. Never charges for failures.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from tidemill.contracts.hardware import HARDWARE, Hardware
from tidemill.contracts.prediction import Status
from tidemill.runtime.db import Database

FREE: Final = frozenset({Status.FAILED, Status.ABORTED})
COST_DIGITS: Final = 9  # of dollars: a millisecond on the smallest machine is 25 billionths

# Private models and deployments are paid for by the time of their instances, so a run of theirs has no price.
TERMS: Final = """
SELECT q.queue, COALESCE(r.hardware, m.hardware) AS hardware, m.visibility = 'public' AND r.queue IS NULL AS by_run
FROM queue_version q JOIN version v ON v.queue = q.version_queue JOIN model m ON m.id = v.model_id
    LEFT JOIN release r ON r.queue = q.queue
WHERE q.queue = ANY ($1)"""


class Tariff(msgspec.Struct, frozen=True):
    """What runs of a queue are billed by; `usd_per_s` None: not by the run."""

    hardware: str
    usd_per_s: float | None


def prices(setting: str) -> dict[str, float]:
    """Dollars a second by sku: the defaults, or the operator's own (`sku=price,…`) instead. Raises ValueError."""
    found = {kind.sku: kind.price_usd_per_s for kind in HARDWARE.values()}
    for part in filter(None, (part.strip() for part in setting.split(","))):
        sku, _, price = part.partition("=")
        if sku.strip() not in HARDWARE:
            raise ValueError(f"{sku.strip()!r} is no hardware: {', '.join(HARDWARE)}")
        found[sku.strip()] = float(price)
        if not 0 <= found[sku.strip()] < float("inf"):
            raise ValueError(f"{price.strip()!r} is no price")
    return found


def bill(
    tariff: Tariff | None, status: Status, started_at: float | None, completed_at: float, *, sharers: int = 1
) -> dict[str, Any]:
    """What the metrics say of it: `hardware`, and `cost` in dollars where the run is billed.

    `sharers` runs had the hardware at once, in one call of a model under @batch: each pays its part.
    """
    if tariff is None:
        return {}
    if tariff.usd_per_s is None:
        return {"hardware": tariff.hardware}
    ran_s = 0.0 if started_at is None or status in FREE else max(0.0, completed_at - started_at)
    return {"hardware": tariff.hardware, "cost": round(ran_s * tariff.usd_per_s / sharers, COST_DIGITS)}


class Tariffs:
    """Looks up what runs of queues are billed by."""

    def __init__(self, database: Database, usd_per_s: Mapping[str, float]) -> None:
        self._database = database
        self._usd_per_s = usd_per_s

    def hardware(self) -> list[Hardware]:
        """All kinds, with the prices that hold here."""
        return [structs.replace(kind, price_usd_per_s=self._usd_per_s[kind.sku]) for kind in HARDWARE.values()]

    async def of(self, queues: Sequence[str]) -> dict[str, Tariff]:
        """By queue; one whose version is gone is missing. Raises one of db.TRANSIENT_ERRORS."""
        rows = await self._database.fetch(TERMS, list(queues))
        return {row["queue"]: self._tariff(row["hardware"], by_run=row["by_run"]) for row in rows}

    def _tariff(self, hardware: str, *, by_run: bool) -> Tariff:
        return Tariff(hardware, self._usd_per_s.get(hardware) if by_run else None)
