"""The SQL of the worker, but for ends (`runtime.outcome`) and pushes (`push_store`)."""

from collections.abc import Sequence
from typing import Final

from tidemill.contracts.lease import SQL_LOST
from tidemill.contracts.prediction import SQL_SOURCES, Status
from tidemill.runtime.clock import at
from tidemill.runtime.db import Database, Lane, Row, columns
from tidemill.worker.runs.run import Run

REGISTER: Final = """
INSERT INTO worker (id, host, lease_until) VALUES ($1, $2, now() + make_interval(secs => $3))"""
# One that has run out is renewed as well, until the scheduler has called the worker lost and given away what it ran.
RENEW: Final = f"""
UPDATE worker SET lease_until = now() + make_interval(secs => $2)
WHERE id = $1 AND lease_until > {SQL_LOST} RETURNING id"""  # noqa: S608 - our own constant
RELEASE: Final = f"UPDATE worker SET lease_until = {SQL_LOST} WHERE id = $1"  # noqa: S608 - as above

CLAIM: Final = f"""
UPDATE prediction p SET status = 'processing', worker = $4, started_at = c.started_at
FROM unnest($1::text[], $2::int[], $3::timestamptz[]) AS c (id, attempt, started_at)
WHERE p.id = ANY ($1) AND p.id = c.id AND p.attempt = c.attempt AND p.status IN {SQL_SOURCES[Status.PROCESSING]}
    AND EXISTS (SELECT 1 FROM worker w WHERE w.id = $4 AND w.lease_until > {SQL_LOST})
RETURNING p.id, p.kind, p.model, p.version"""  # noqa: S608 - our own constant
SAVE: Final = """
UPDATE prediction p SET output = COALESCE(s.output::json, p.output), logs = s.logs,
    metrics = COALESCE(s.metrics::json, p.metrics)
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[]) AS s (id, attempt, output, logs, metrics)
WHERE p.id = ANY ($1) AND p.id = s.id AND p.attempt = s.attempt AND p.status = 'processing' AND p.worker = $6
RETURNING p.id"""
NEXT_ATTEMPT: Final = f"""
UPDATE prediction p SET status = 'starting', attempt = p.attempt + 1, worker = NULL, started_at = NULL, output = NULL,
    logs = NULL, metrics = NULL
FROM unnest($1::text[], $2::int[]) AS n (id, attempt)
WHERE p.id = ANY ($1) AND p.id = n.id AND p.attempt = n.attempt AND p.status IN {SQL_SOURCES[Status.STARTING]}
    AND (p.worker IS NULL OR p.worker = $3)
RETURNING p.id"""  # noqa: S608 - our own constant
# Of runs that were claimed and never begun: they lose no attempt. What is urgent is so again.
UNCLAIM: Final = """
WITH back AS (
    UPDATE prediction p SET status = 'starting', worker = NULL, started_at = NULL
    FROM unnest($1::text[], $2::int[]) AS n (id, attempt)
    WHERE p.id = ANY ($1) AND p.id = n.id AND p.attempt = n.attempt AND p.status = 'processing' AND p.worker = $3
    RETURNING p.id, p.queue, p.account_id, p.priority
), urgent AS (
    INSERT INTO urgent (id, queue, account_id, priority) SELECT id, queue, account_id, priority FROM back
    WHERE priority > 0 ON CONFLICT (id) DO UPDATE SET priority = excluded.priority
)
SELECT id FROM back"""
INPUT: Final = "SELECT input FROM prediction WHERE id = $1 AND attempt = $2"
VERSION: Final = """
SELECT v.queue, v.id, v.files, v.config, v.openapi_schema, v.streams, v.secret_inputs, m.owner, m.name,
    m.account_id, q.kind,
    COALESCE((SELECT r.hardware FROM release r WHERE r.queue = q.queue), m.hardware) AS hardware,
    ARRAY(SELECT DISTINCT u.account_id FROM urgent u
        WHERE u.queue = q.queue AND (u.priority > 0 OR u.runs IS NOT NULL)) AS urgent
FROM queue_version q JOIN version v ON v.queue = q.version_queue JOIN model m ON m.id = v.model_id
WHERE q.queue = $1"""


async def claim(lane: Lane, worker: str, runs: Sequence[Run]) -> dict[str, Row]:
    """By id, what the rows that are now this worker's say: kind, model, version."""
    rows = columns([(run.job.id, run.job.attempt, at(run.started_at)) for run in runs], 3)
    return {row["id"]: row for row in await lane.fetch(CLAIM, *rows, worker)}


async def save(lane: Lane, worker: str, runs: Sequence[Run]) -> set[str]:
    """The ids of the rows that were this worker's and running."""
    rows = columns(
        [(r.job.id, r.job.attempt, r.output_so_far(), r.logs_so_far(), r.measured_so_far()) for r in runs], 5
    )
    return {row["id"] for row in await lane.fetch(SAVE, *rows, worker)}


async def next_attempt(lane: Lane, worker: str, runs: Sequence[Run]) -> set[str]:
    """Begins the next attempt of runs that were lost with their child; answers those that may go on."""
    rows = columns([(run.job.id, run.job.attempt) for run in runs], 2)
    return {row["id"] for row in await lane.fetch(NEXT_ATTEMPT, *rows, worker)}


async def unclaim(lane: Lane, worker: str, runs: Sequence[Run]) -> set[str]:
    """Gives back what no child has begun; answers what this worker still held."""
    rows = columns([(run.job.id, run.job.attempt) for run in runs], 2)
    return {row["id"] for row in await lane.fetch(UNCLAIM, *rows, worker)}


async def read_input(database: Database, prediction_id: str, attempt: int) -> bytes | None:
    text = await database.value(INPUT, prediction_id, attempt)
    return None if text is None else str(text).encode()


async def version(database: Database, queue: str) -> Row | None:
    return await database.row(VERSION, queue)
