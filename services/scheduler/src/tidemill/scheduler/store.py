"""The SQL of the scheduler. Predictions are written in runtime.predictions."""

import contextlib
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

import asyncpg
from msgspec import UNSET, Raw

from tidemill.contracts.events import Job
from tidemill.contracts.lease import SQL_LOST
from tidemill.contracts.limits import INLINE_INPUT_LIMIT_BYTES
from tidemill.contracts.prediction import SQL_OPEN, Status
from tidemill.runtime.clock import at
from tidemill.runtime.db import Database, DedicatedConnection
from tidemill.runtime.db import Row as Record
from tidemill.runtime.scan import Window
from tidemill.scheduler.deployment_policies import FORGET_RETIRED_S, Deployment, Release
from tidemill.scheduler.sweep_decisions import OpenPrediction

SCAN: Final = "sweep"  # the name of its watermark
BATCH: Final = 200  # rows of one statement that writes or that reads inputs

CLOCK: Final = """
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
    ARRAY(SELECT id FROM worker WHERE lease_until > clock_timestamp()) AS workers"""
LOSE: Final = f"""
UPDATE worker SET lease_until = {SQL_LOST} WHERE lease_until <= $1 AND lease_until > {SQL_LOST}
RETURNING id"""

# Windows are read by the BRIN index on accepted_at, which takes bitmap scans; the plan is made anew each time, as one
# that was made for a small table would be kept when the table is large.
SCAN_SETTINGS: Final = {
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "jit": "off",
    "lock_timeout": "100",  # ms; see SUMMARIZE
}

# With EXISTS the planner would read the leases of all workers, also of those that died a year ago.
_COLUMNS: Final = f"""
    p.id, p.attempt, p.status, p.account_id, p.gateway, p.queue, p.worker, p.accepted_at, p.created_at, p.started_at,
    p.deadline, p.webhook IS NOT NULL AS webhook,
    COALESCE((SELECT w.lease_until > {SQL_LOST} FROM worker w WHERE w.id = p.worker), false) AS leased,
    EXISTS (SELECT FROM queue_version v WHERE v.queue = p.queue) AS known"""

OPEN_IN_WINDOW: Final = f"""
SELECT {_COLUMNS} FROM prediction p
WHERE p.accepted_at > $1 AND p.accepted_at <= $2 AND p.status IN {SQL_OPEN}"""

AGAIN: Final = f"""
SELECT {_COLUMNS} FROM prediction p WHERE p.id = ANY ($1) AND p.status IN {SQL_OPEN}"""

JOBS: Final = f"""
SELECT p.id, p.attempt, p.queue, p.account_id, p.gateway, p.created_at, p.deadline, p.webhook IS NOT NULL AS webhook,
    p.priority, CASE WHEN octet_length(p.input::text) <= {INLINE_INPUT_LIMIT_BYTES} THEN p.input END AS input
FROM prediction p WHERE p.id = ANY ($1) AND p.status = '{Status.STARTING}' AND p.worker IS NULL"""

# Every scan reads pages completely until they are summarized: 200 ms instead of 10 ms with a million new rows.
# Autovacuum summarizes once a minute; a vacuum in progress blocks this statement, and then it matters little.
SUMMARIZE: Final = "SELECT brin_summarize_new_values('prediction_accepted')"

# Of deployments changed after a time: the current release, those retired in the last day, and all of disabled ones.
DEPLOYMENTS: Final = f"""
SELECT d.id, extract(epoch FROM d.changed_at)::float8 AS changed_at,
    r.queue, r.number, r.min_instances, r.max_instances, extract(epoch FROM now() - r.retired_at)::float8 AS retired_s
FROM deployment d JOIN release r ON r.deployment_id = d.id
WHERE d.changed_at > $1 AND (r.retired_at IS NULL OR r.retired_at > now() - make_interval(secs => {FORGET_RETIRED_S})
    OR NOT EXISTS (SELECT FROM release c
        WHERE c.deployment_id = d.id AND c.retired_at IS NULL AND c.max_instances > 0))
ORDER BY d.id, r.number DESC"""
COMMIT_WITHIN_S: Final = 30.0  # changed_at is older than the commit by at most this; changes are read again until then


class Clock(NamedTuple):
    """The database's time in unix seconds, and the workers whose lease is alive."""

    now: float
    workers: frozenset[str]


class QueuedJob(NamedTuple):
    queue: str
    job: Job


async def mark_lost_workers(connection: DedicatedConnection, now: float) -> list[str]:
    """Mark workers as lost whose lease had expired by `now`, the database's time. Return their ids. It is final.

    The time is a parameter, so that leases that expire while this statement hangs are not included.
    """
    return [row["id"] for row in await connection.fetch(LOSE, at(now))]


async def clock(connection: DedicatedConnection) -> Clock:
    (row,) = await connection.fetch(CLOCK)
    return Clock(row["now"], frozenset(row["workers"]))


async def open_in(connection: DedicatedConnection, window: Window) -> list[OpenPrediction]:
    return [_row(row) for row in await connection.fetch(OPEN_IN_WINDOW, at(window.after), at(window.until))]


async def open_again(connection: DedicatedConnection, predictions: Sequence[str]) -> list[OpenPrediction]:
    """Return the rows of those predictions that are still open."""
    return [_row(row) for row in await connection.fetch(AGAIN, list(predictions))]


async def jobs(connection: DedicatedConnection, predictions: Sequence[str]) -> list[QueuedJob]:
    """Return hints for the predictions that are still unclaimed."""
    return [QueuedJob(row["queue"], _job(row)) for row in await connection.fetch(JOBS, list(predictions))]


async def deployments(database: Database, changed_after: float, moment: float) -> list[Deployment]:
    """Return deployments that changed after `changed_after` (unix seconds). `moment` is now on the monotonic clock."""
    rows = await database.fetch(DEPLOYMENTS, at(max(0.0, changed_after - COMMIT_WITHIN_S)))
    return [_deployment(list(group), moment) for _, group in groupby(rows, key=itemgetter("id"))]


def _deployment(rows: Sequence[Record], moment: float) -> Deployment:
    first = rows[0]
    return Deployment(
        id=first["id"],
        changed_at=first["changed_at"],
        releases=tuple(
            Release(
                queue=row["queue"],
                number=row["number"],
                min_instances=row["min_instances"],
                max_instances=row["max_instances"],
                retired_at=None if row["retired_s"] is None else moment - row["retired_s"],
            )
            for row in rows
        ),
    )


async def summarize(connection: DedicatedConnection) -> None:
    with contextlib.suppress(asyncpg.LockNotAvailableError, asyncpg.InsufficientPrivilegeError, TimeoutError):
        await connection.fetch(SUMMARIZE)


def _row(row: Record) -> OpenPrediction:
    return OpenPrediction(
        id=row["id"],
        attempt=row["attempt"],
        status=Status(row["status"]),
        account=row["account_id"],
        gateway=row["gateway"],
        queue=row["queue"],
        worker=row["worker"],
        leased=row["leased"],
        known=row["known"],
        accepted_at=row["accepted_at"].timestamp(),
        created_at=row["created_at"].timestamp(),
        started_at=row["started_at"] and row["started_at"].timestamp(),
        deadline=row["deadline"] and row["deadline"].timestamp(),
        webhook=row["webhook"],
    )


def _job(row: Record) -> Job:
    return Job(
        id=row["id"],
        attempt=row["attempt"],
        account=row["account_id"],
        gateway=row["gateway"],
        input=UNSET if row["input"] is None else Raw(row["input"].encode()),
        created_at=row["created_at"].timestamp(),
        deadline=row["deadline"] and row["deadline"].timestamp(),
        webhook=row["webhook"],
        priority=row["priority"],
    )
