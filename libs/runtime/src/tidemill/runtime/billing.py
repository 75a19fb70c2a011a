"""What a run costs: the seconds that it ran, times the price of the model's hardware.

The cost is stored with the outcome, so that a later change of prices does not change runs that have ended. Failed and
aborted runs cost nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from tidemill.contracts.hardware import HARDWARE, Hardware
from tidemill.contracts.prediction import Status
from tidemill.runtime.db import Database

FREE: Final = frozenset({Status.FAILED, Status.ABORTED})
COST_DIGITS: Final = 9  # of dollars: a millisecond on the smallest machine costs 25 billionths

# Private models and deployments are billed by the time of their instances, so their runs have no price.
TERMS: Final = """
SELECT q.queue, COALESCE(r.hardware, m.hardware) AS hardware, m.visibility = 'public' AND r.queue IS NULL AS by_run
FROM queue_version q JOIN version v ON v.queue = q.version_queue JOIN model m ON m.id = v.model_id
    LEFT JOIN release r ON r.queue = q.queue
WHERE q.queue = ANY ($1)"""


class Tariff(msgspec.Struct, frozen=True):
    """How the runs of a queue are billed. `usd_per_s` is None if they are not billed by the run."""

    hardware: str
    usd_per_s: float | None


def prices(setting: str) -> dict[str, float]:
    """Return dollars per second by sku: the defaults, changed by the operator's setting (`sku=price,…`).

    Raise ValueError if the setting names unknown hardware or holds no price.
    """
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
    """Return the entries for the prediction's metrics: `hardware`, and `cost` in dollars if the run is billed.

    `sharers` is the number of runs that shared one call of a model under @batch: each pays its share.
    """
    if tariff is None:
        return {}
    if tariff.usd_per_s is None:
        return {"hardware": tariff.hardware}
    ran_s = 0.0 if started_at is None or status in FREE else max(0.0, completed_at - started_at)
    return {"hardware": tariff.hardware, "cost": round(ran_s * tariff.usd_per_s / sharers, COST_DIGITS)}


class Tariffs:
    """Looks up how the runs of queues are billed."""

    def __init__(self, database: Database, usd_per_s: Mapping[str, float]) -> None:
        self._database = database
        self._usd_per_s = usd_per_s

    def hardware(self) -> list[Hardware]:
        """Return all hardware, with the prices of this installation."""
        return [structs.replace(kind, price_usd_per_s=self._usd_per_s[kind.sku]) for kind in HARDWARE.values()]

    async def of(self, queues: Sequence[str]) -> dict[str, Tariff]:
        """Return tariffs by queue, without queues whose version is deleted. Raise one of db.TRANSIENT_ERRORS."""
        rows = await self._database.fetch(TERMS, list(queues))
        return {row["queue"]: self._tariff(row["hardware"], by_run=row["by_run"]) for row in rows}

    def _tariff(self, hardware: str, *, by_run: bool) -> Tariff:
        return Tariff(hardware, self._usd_per_s.get(hardware) if by_run else None)
