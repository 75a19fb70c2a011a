"""The SQL of priorities: which prediction runs at a hint of an account that has urgent ones (ADR 6).

A row of `urgent` is a prediction with a priority that waits, or a hint at which another one runs (`runs`): the one that
was displaced when the hint's own prediction ran early. The claim itself is written by runtime.predictions.
"""

from typing import Any, Final

import msgspec

from tidemill.contracts.events import Job
from tidemill.contracts.prediction import SQL_OPEN, Status
from tidemill.runtime.db import Database, Row, retry_transient
from tidemill.runtime.predictions.claims import claim_unclaimed
from tidemill.worker.runs.priority_hints import WaitingPrediction, choose

# One decision at a time for an account in a queue; each sees what the one before it has written.
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))"
_WAITS: Final = f"""p.status = '{Status.STARTING}' AND p.worker IS NULL
    AND (p.deadline IS NULL OR p.deadline > clock_timestamp())"""
OWN: Final = f"""
SELECT p.id, p.priority FROM prediction p
WHERE p.id = COALESCE((SELECT u.runs FROM urgent u WHERE u.id = $1), $1) AND {_WAITS}"""
# Two each: the one that is chosen, and whether another is left.
URGENT: Final = f"""
SELECT u.id, u.priority FROM urgent u JOIN prediction p ON p.id = u.id
WHERE u.queue = $1 AND u.account_id = $2 AND u.priority > 0 AND {_WAITS}
ORDER BY u.priority DESC, u.id LIMIT 2"""
DISPLACED: Final = f"""
SELECT p.id, p.priority FROM urgent u JOIN prediction p ON p.id = u.runs
WHERE u.queue = $1 AND u.account_id = $2 AND u.runs IS NOT NULL AND {_WAITS} ORDER BY u.runs LIMIT 2"""
HELD: Final = f"""
SELECT 1 FROM prediction WHERE id = $1 AND attempt = $2 AND status = '{Status.PROCESSING}' AND worker = $3"""
# The hint is used, whatever was to run at it; and a prediction whose own hint was repeated runs at one hint only.
USE_HINT: Final = "UPDATE urgent SET runs = NULL WHERE runs IS NOT NULL AND (id = $1 OR runs = $2)"
MARK_CLAIMED: Final = "UPDATE urgent SET priority = 0 WHERE id = $1"
# The displaced prediction ($2) runs at the hint of what runs instead ($1): its own, or the one where it was to run.
DISPLACE: Final = """
UPDATE urgent SET runs = $2 WHERE id = COALESCE((SELECT u.id FROM urgent u WHERE u.runs = $1), $1)"""
DELETE_USED: Final = "DELETE FROM urgent WHERE id = ANY ($1) AND priority = 0 AND runs IS NULL"
DELETE_ENDED: Final = f"""
DELETE FROM urgent u USING prediction p
WHERE u.queue = $1 AND u.account_id = $2 AND p.id = u.id AND p.status NOT IN {SQL_OPEN}
    AND NOT EXISTS (SELECT FROM prediction r WHERE r.id = u.runs AND r.status IN {SQL_OPEN})"""
CONTESTED: Final = """
SELECT DISTINCT queue, account_id FROM urgent WHERE queue = ANY ($1) AND (priority > 0 OR runs IS NOT NULL)"""


class ClaimedAtHint(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction that was claimed at a hint, and its row; both None if nothing is left to run.

    `more`: other urgent or displaced predictions of the account wait.
    """

    job: Job | None = None
    row: Row | None = None
    more: bool = False


async def contested(database: Database, queues: list[str]) -> list[tuple[str, str]]:
    """Return the queues and accounts that have urgent or displaced predictions, or had them a moment ago."""
    return [(row["queue"], row["account_id"]) for row in await database.fetch(CONTESTED, queues)]


async def claim_at_hint(database: Database, worker: str, queue: str, hint: Job, started_at: float) -> ClaimedAtHint:
    """Choose and claim what runs at the hint, in one transaction. Wait until the database is reachable.

    If the answer to a commit is lost, the next try finds the claim that it made.
    """
    claimed = ClaimedAtHint()

    async def attempt() -> ClaimedAtHint:
        nonlocal claimed
        async with database.transaction() as connection:
            if claimed.job is not None and await connection.fetchrow(HELD, claimed.job.id, claimed.job.attempt, worker):
                return claimed
            await connection.execute(LOCK, queue, hint.account)
            claimed = await _decide(connection, worker, queue, hint, started_at)
        return claimed

    return await retry_transient("priority claim", attempt)


async def _decide(connection: Any, worker: str, queue: str, hint: Job, started_at: float) -> ClaimedAtHint:
    own, others = await _candidates(connection, queue, hint)
    await connection.execute(USE_HINT, hint.id, None if own is None else own.id)
    chosen = choose([*others, *([] if own is None else [own])])
    row = await _claim(connection, worker, chosen, started_at)
    if row is None and own != chosen:  # the chosen one was canceled at this moment
        row = await _claim(connection, worker, own, started_at)
    claimed = None if row is None else row["id"]
    await connection.execute(MARK_CLAIMED, claimed)
    if own is not None and own.id != claimed:
        await connection.execute(DISPLACE, claimed, own.id)
    await connection.execute(DELETE_USED, [hint.id, claimed])
    more = any(each.id != claimed for each in others)
    if not more:
        await connection.execute(DELETE_ENDED, queue, hint.account)
    return ClaimedAtHint(job=None if row is None else _job(row, hint), row=row, more=more)


async def _candidates(
    connection: Any, queue: str, hint: Job
) -> tuple[WaitingPrediction | None, list[WaitingPrediction]]:
    """Return what would run at this hint, and the first of the account's others that wait."""
    own = await connection.fetchrow(OWN, hint.id)
    urgent = await connection.fetch(URGENT, queue, hint.account)
    displaced = await connection.fetch(DISPLACED, queue, hint.account)
    others = [WaitingPrediction(row["id"], row["priority"]) for row in (*urgent, *displaced)]
    return None if own is None else WaitingPrediction(own["id"], own["priority"]), others


async def _claim(connection: Any, worker: str, waiting: WaitingPrediction | None, started_at: float) -> Row | None:
    return None if waiting is None else await claim_unclaimed(connection, worker, waiting.id, started_at)


def _job(row: Row, hint: Job) -> Job:
    if row["id"] == hint.id:
        return msgspec.structs.replace(hint, attempt=row["attempt"])
    return Job(
        id=row["id"],
        attempt=row["attempt"],
        account=row["account_id"],
        gateway=row["gateway"],
        input=msgspec.UNSET if row["input"] is None else msgspec.Raw(row["input"].encode()),
        created_at=row["created_at"].timestamp(),
        deadline=row["deadline"] and row["deadline"].timestamp(),
        webhook=row["webhook"],
        priority=row["priority"],
    )
