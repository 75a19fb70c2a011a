"""The way back: a prediction that a worker had waits again, for its next attempt or for the same one."""

from collections.abc import Sequence
from typing import Final

from tidemill.contracts.prediction import Status
from tidemill.runtime.db import DedicatedConnection
from tidemill.runtime.parameters import Unnest
from tidemill.runtime.predictions.fences import Attempt, current_attempt, leased, may_become

ATTEMPTS: Final = Unnest(Attempt, "n")
_WORKER: Final = f"${ATTEMPTS.after}"
_NEXT_ATTEMPT: Final = f"""
UPDATE prediction p SET status = '{Status.STARTING}', attempt = p.attempt + 1, worker = NULL, started_at = NULL,
    output = NULL, logs = NULL, metrics = NULL
FROM {ATTEMPTS.rows}
WHERE {current_attempt(ATTEMPTS)}"""
NEXT_ATTEMPT_OF_OWN: Final = f"""{_NEXT_ATTEMPT} AND {may_become(Status.STARTING)}
    AND (p.worker IS NULL OR p.worker = {_WORKER})
RETURNING p.id"""
NEXT_ATTEMPT_OF_LOST: Final = f"""{_NEXT_ATTEMPT} AND p.status = '{Status.PROCESSING}' AND NOT {leased("p.worker")}
RETURNING p.id, p.attempt"""
# What is urgent is so again: its claim had used up its row in `urgent`.
RELEASE: Final = f"""
WITH back AS (
    UPDATE prediction p SET status = '{Status.STARTING}', worker = NULL, started_at = NULL
    FROM {ATTEMPTS.rows}
    WHERE {current_attempt(ATTEMPTS)} AND p.status = '{Status.PROCESSING}' AND p.worker = {_WORKER}
    RETURNING p.id, p.queue, p.account_id, p.priority
), urgent AS (
    INSERT INTO urgent (id, queue, account_id, priority) SELECT id, queue, account_id, priority FROM back
    WHERE priority > 0 ON CONFLICT (id) DO UPDATE SET priority = excluded.priority
)
SELECT id FROM back"""


async def next_attempt_of_own(connection: DedicatedConnection, worker: str, attempts: Sequence[Attempt]) -> set[str]:
    """Begin the next attempt of the worker's own runs. Return the ids of those that may go on.

    Callers: workers, for runs that were lost with their child.
    Fence: the attempt; the status, by the table of transitions; the worker, if the row has one.
    Cost: one probe of the primary key per run, hash-joined with the arrays.
    """
    return {row["id"] for row in await connection.fetch(NEXT_ATTEMPT_OF_OWN, *ATTEMPTS.arrays(attempts), worker)}


async def next_attempt_of_lost(connection: DedicatedConnection, attempts: Sequence[Attempt]) -> dict[str, int]:
    """Begin the next attempt of predictions whose worker is lost. Return the new attempts of those moved, by id.

    Callers: the scheduler's sweep.
    Fence: the attempt; the status processing; no lease of the row's worker.
    Cost: one probe of the primary key and one of `worker` per prediction, hash-joined with the arrays.
    """
    rows = await connection.fetch(NEXT_ATTEMPT_OF_LOST, *ATTEMPTS.arrays(attempts))
    return {row["id"]: row["attempt"] for row in rows}


async def release(connection: DedicatedConnection, worker: str, attempts: Sequence[Attempt]) -> set[str]:
    """Give back claims whose runs never began: they lose no attempt. Return the ids of those the worker still had.

    Callers: workers that stop or lose an instance.
    Fence: the attempt; the status processing; the worker.
    Cost: one probe of the primary key per claim, hash-joined with the arrays; a row of `urgent` per urgent one.
    """
    return {row["id"] for row in await connection.fetch(RELEASE, *ATTEMPTS.arrays(attempts), worker)}
