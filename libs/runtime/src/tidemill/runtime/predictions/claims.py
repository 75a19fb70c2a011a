"""Claims: a prediction that waits becomes one that a worker runs."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidemill.contracts.limits import INLINE_INPUT_LIMIT_BYTES
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import at
from tidemill.runtime.db import DedicatedConnection, Row
from tidemill.runtime.parameters import Moment, Unnest
from tidemill.runtime.predictions.fences import current_attempt, leased, may_become


class Claim(msgspec.Struct, frozen=True):
    """An attempt that a worker has begun to run."""

    id: str
    attempt: int
    started_at: Moment


CLAIMS: Final = Unnest(Claim, "c")
_WORKER: Final = f"${CLAIMS.after}"
CLAIM: Final = f"""
UPDATE prediction p SET status = '{Status.PROCESSING}', worker = {_WORKER}, started_at = c.started_at
FROM {CLAIMS.rows}
WHERE {current_attempt(CLAIMS)} AND {may_become(Status.PROCESSING)} AND {leased(_WORKER)}
RETURNING p.id, p.kind, p.model, p.version"""
CLAIM_UNCLAIMED: Final = f"""
UPDATE prediction p SET status = '{Status.PROCESSING}', worker = $2, started_at = $3
WHERE p.id = $1 AND {may_become(Status.PROCESSING)} AND p.worker IS NULL AND {leased("$2")}
RETURNING p.id, p.attempt, p.account_id, p.gateway, p.created_at, p.deadline, p.webhook IS NOT NULL AS webhook,
    p.priority, p.kind, p.model, p.version,
    CASE WHEN octet_length(p.input::text) <= {INLINE_INPUT_LIMIT_BYTES} THEN p.input END AS input"""


async def claim(connection: DedicatedConnection, worker: str, claims: Sequence[Claim]) -> dict[str, Row]:
    """Claim predictions for the worker. Return kind, model and version of those that are its own now, by id.

    Callers: workers, after a run has begun, in batches.
    Fence: the attempt; the status, by the table of transitions; the worker's lease.
    Cost: one probe of the primary key per claim, hash-joined with the arrays; one of `worker`.
    """
    return {row["id"]: row for row in await connection.fetch(CLAIM, *CLAIMS.arrays(claims), worker)}


async def claim_unclaimed(connection: Any, worker: str, prediction: str, started_at: float) -> Row | None:
    """Claim a prediction that no worker has, whatever its attempt. Return what a job says of it, or None.

    Callers: workers, in the transaction that decides what runs at the hint of an account with urgent predictions.
    Fence: the status, by the table of transitions; no worker in the row; the worker's lease.
    Cost: one probe of the primary key and one of `worker`.
    """
    row: Row | None = await connection.fetchrow(CLAIM_UNCLAIMED, prediction, worker, at(started_at))
    return row
