"""The SQL of turns: claims what runs at a hint, and keeps what it displaces for the hint of what it runs instead."""

from typing import Any, Final

import msgspec

from tidemill.contracts.events import Job
from tidemill.contracts.lease import SQL_LOST
from tidemill.contracts.limits import INLINE_INPUT_LIMIT_BYTES
from tidemill.contracts.prediction import SQL_OPEN, SQL_SOURCES, Status
from tidemill.runtime.clock import at
from tidemill.runtime.db import Database, Row, insistently
from tidemill.worker.runs.priority_hints import WaitingPrediction, choose

# One turn at a time of an account in a queue; whoever waited sees what the one before has written.
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))"
_WAITS: Final = """p.status = 'starting' AND p.worker IS NULL
    AND (p.deadline IS NULL OR p.deadline > clock_timestamp())"""
OWN: Final = f"""
SELECT p.id, p.priority FROM prediction p
WHERE p.id = COALESCE((SELECT u.runs FROM urgent u WHERE u.id = $1), $1) AND {_WAITS}"""  # noqa: S608 - our own constants
# Two each: what is chosen, and whether another is left.
URGENT: Final = f"""
SELECT u.id, u.priority FROM urgent u JOIN prediction p ON p.id = u.id
WHERE u.queue = $1 AND u.account_id = $2 AND u.priority > 0 AND {_WAITS}
ORDER BY u.priority DESC, u.id LIMIT 2"""  # noqa: S608 - our own constants
DISPLACED: Final = f"""
SELECT p.id, p.priority FROM urgent u JOIN prediction p ON p.id = u.runs
WHERE u.queue = $1 AND u.account_id = $2 AND u.runs IS NOT NULL AND {_WAITS} ORDER BY u.runs LIMIT 2"""  # noqa: S608 - as above
CLAIM: Final = f"""
UPDATE prediction p SET status = 'processing', worker = $2, started_at = $3
WHERE p.id = $1 AND p.status IN {SQL_SOURCES[Status.PROCESSING]} AND p.worker IS NULL
    AND EXISTS (SELECT 1 FROM worker w WHERE w.id = $2 AND w.lease_until > {SQL_LOST})
RETURNING p.id, p.attempt, p.account_id, p.gateway, p.created_at, p.deadline, p.webhook IS NOT NULL AS webhook,
    p.priority, p.kind, p.model, p.version,
    CASE WHEN octet_length(p.input::text) <= {INLINE_INPUT_LIMIT_BYTES} THEN p.input END AS input"""  # noqa: S608 - as above
MINE: Final = "SELECT 1 FROM prediction WHERE id = $1 AND attempt = $2 AND status = 'processing' AND worker = $3"
# The hint's turn has come, whatever was to run at it; and a prediction whose own hint was repeated has one turn still.
SPEND: Final = "UPDATE urgent SET runs = NULL WHERE runs IS NOT NULL AND (id = $1 OR runs = $2)"
CLAIMED: Final = "UPDATE urgent SET priority = 0 WHERE id = $1"
# What was displaced takes the turn of what runs instead: its own hint, or the one where it would have run.
DISPLACE: Final = """
UPDATE urgent SET runs = $2 WHERE id = COALESCE((SELECT u.id FROM urgent u WHERE u.runs = $1), $1)"""
USED_UP: Final = "DELETE FROM urgent WHERE id = ANY ($1) AND priority = 0 AND runs IS NULL"
TIDY: Final = f"""
DELETE FROM urgent u USING prediction p
WHERE u.queue = $1 AND u.account_id = $2 AND p.id = u.id AND p.status NOT IN {SQL_OPEN}
    AND NOT EXISTS (SELECT FROM prediction r WHERE r.id = u.runs AND r.status IN {SQL_OPEN})"""  # noqa: S608 - as above
CONTESTED: Final = """
SELECT DISTINCT queue, account_id FROM urgent WHERE queue = ANY ($1) AND (priority > 0 OR runs IS NOT NULL)"""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What the turn claimed for this worker, with what its row says; nothing when nothing is left to run.

    `more`: others that are urgent, or were displaced, wait.
    """

    job: Job | None = None
    row: Row | None = None
    more: bool = False


async def contested(database: Database, queues: list[str]) -> list[tuple[str, str]]:
    """Queues and accounts that have urgent or displaced predictions, or had them a moment ago."""
    return [(row["queue"], row["account_id"]) for row in await database.fetch(CONTESTED, queues)]


async def take(database: Database, worker: str, queue: str, hint: Job, started_at: float) -> Taken:
    """Waits for a database that is away. A claim whose answer got lost is found again, not left behind."""
    taken = Taken()

    async def turn() -> Taken:
        nonlocal taken
        async with database.transaction() as connection:
            if taken.job is not None and await connection.fetchrow(MINE, taken.job.id, taken.job.attempt, worker):
                return taken
            await connection.execute(LOCK, queue, hint.account)
            taken = await _turn(connection, worker, queue, hint, started_at)
        return taken

    return await insistently("turn", turn)


async def _turn(connection: Any, worker: str, queue: str, hint: Job, started_at: float) -> Taken:
    own, others = await _candidates(connection, queue, hint)
    await connection.execute(SPEND, hint.id, None if own is None else own.id)
    chosen = choose([*others, *([] if own is None else [own])])
    row = await _claim(connection, worker, chosen, started_at)
    if row is None and own != chosen:  # the other was canceled at this moment
        row = await _claim(connection, worker, own, started_at)
    claimed = None if row is None else row["id"]
    await connection.execute(CLAIMED, claimed)
    if own is not None and own.id != claimed:
        await connection.execute(DISPLACE, claimed, own.id)
    await connection.execute(USED_UP, [hint.id, claimed])
    more = any(each.id != claimed for each in others)
    if not more:
        await connection.execute(TIDY, queue, hint.account)
    return Taken(job=None if row is None else _job(row, hint), row=row, more=more)


async def _candidates(
    connection: Any, queue: str, hint: Job
) -> tuple[WaitingPrediction | None, list[WaitingPrediction]]:
    """What would run at this hint, and the first of what else waits for the account's turns."""
    own = await connection.fetchrow(OWN, hint.id)
    urgent = await connection.fetch(URGENT, queue, hint.account)
    displaced = await connection.fetch(DISPLACED, queue, hint.account)
    others = [WaitingPrediction(row["id"], row["priority"]) for row in (*urgent, *displaced)]
    return None if own is None else WaitingPrediction(own["id"], own["priority"]), others


async def _claim(connection: Any, worker: str, waiting: WaitingPrediction | None, started_at: float) -> Row | None:
    if waiting is None:
        return None
    row: Row | None = await connection.fetchrow(CLAIM, waiting.id, worker, at(started_at))
    return row


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
