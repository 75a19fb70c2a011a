"""Progress: output, logs and metrics of a run, for clients that poll and for webhooks."""

from collections.abc import Sequence
from typing import Final

import msgspec

from tidemill.contracts.prediction import Status
from tidemill.runtime.db import DedicatedConnection
from tidemill.runtime.parameters import Unnest
from tidemill.runtime.predictions.fences import current_attempt


class Progress(msgspec.Struct, frozen=True):
    """What an attempt has produced so far. JSON members are text as PostgreSQL takes it; None keeps what is stored."""

    id: str
    attempt: int
    output: str | None
    logs: str
    metrics: str | None


PROGRESS: Final = Unnest(Progress, "s")
SAVE: Final = f"""
UPDATE prediction p SET output = COALESCE(s.output::json, p.output), logs = s.logs,
    metrics = COALESCE(s.metrics::json, p.metrics)
FROM {PROGRESS.rows}
WHERE {current_attempt(PROGRESS)} AND p.status = '{Status.PROCESSING}' AND p.worker = ${PROGRESS.after}
RETURNING p.id"""


async def save(connection: DedicatedConnection, worker: str, progress: Sequence[Progress]) -> set[str]:
    """Store what the worker's runs have produced. Return the ids of those that it runs and that have not ended.

    Callers: workers, at an interval, in batches.
    Fence: the attempt; the status processing; the worker.
    Cost: one probe of the primary key per run, hash-joined with the arrays; a new row version with its output each.
    """
    return {row["id"] for row in await connection.fetch(SAVE, *PROGRESS.arrays(progress), worker)}
