"""The SQL of leases, reports and versions, and of what jobs need. Only runtime.predictions writes predictions."""

from typing import Final

from tidemill.contracts.lease import SQL_LOST
from tidemill.runtime.db import Database, Row

REGISTER: Final = """
INSERT INTO worker (id, host, lease_until) VALUES ($1, $2, now() + make_interval(secs => $3))"""
# A lease that has run out is renewed too, until the scheduler has called the worker lost and given away what it ran.
RENEW: Final = f"""
UPDATE worker SET lease_until = now() + make_interval(secs => $2)
WHERE id = $1 AND lease_until > {SQL_LOST} RETURNING id"""
RELEASE: Final = f"UPDATE worker SET lease_until = {SQL_LOST} WHERE id = $1"
INPUT: Final = "SELECT input FROM prediction WHERE id = $1 AND attempt = $2"
VERSION: Final = """
SELECT v.queue, v.id, v.files, v.config, v.openapi_schema, v.streams, v.secret_inputs, m.owner, m.name,
    m.account_id, q.kind,
    COALESCE((SELECT r.hardware FROM release r WHERE r.queue = q.queue), m.hardware) AS hardware,
    ARRAY(SELECT DISTINCT u.account_id FROM urgent u
        WHERE u.queue = q.queue AND (u.priority > 0 OR u.runs IS NOT NULL)) AS urgent
FROM queue_version q JOIN version v ON v.queue = q.version_queue JOIN model m ON m.id = v.model_id
WHERE q.queue = $1"""

PRIVILEGES: Final = """
SELECT m.id, m.account_id, m.owner || '/' || m.name AS model, m.trusted, v.id AS version,
    ARRAY(SELECT s.name FROM model_secret s WHERE s.model_id = m.id ORDER BY s.name) AS names,
    ARRAY(SELECT s.sealed FROM model_secret s WHERE s.model_id = m.id ORDER BY s.name) AS sealed
FROM queue_version q JOIN version v ON v.queue = q.version_queue JOIN model m ON m.id = v.model_id
WHERE q.queue = $1"""
TIME_LIMITS: Final = "SELECT id, time_limit_s FROM account WHERE time_limit_s IS NOT NULL"
CORRECT_SCHEMA: Final = """
UPDATE version SET openapi_schema = $2, streams = $3, config = $4 WHERE queue = $1"""
WRITE_REPORT: Final = "UPDATE worker SET report = $2, reported_at = now() WHERE id = $1"


async def read_input(database: Database, prediction_id: str, attempt: int) -> bytes | None:
    text = await database.value(INPUT, prediction_id, attempt)
    return None if text is None else str(text).encode()


async def version(database: Database, queue: str) -> Row | None:
    return await database.row(VERSION, queue)


async def privileges(database: Database, queue: str) -> Row | None:
    """Return the model of a queue, whether the operator trusts it, and its sealed secrets. None if it was deleted."""
    return await database.row(PRIVILEGES, queue)


async def time_limits(database: Database) -> dict[str, float]:
    """Return the time limits in seconds of the accounts that have their own."""
    return {row["id"]: float(row["time_limit_s"]) for row in await database.fetch(TIME_LIMITS)}


async def correct_schema(database: Database, queue: str, schema: str, config: str, *, streams: bool) -> None:
    await database.execute(CORRECT_SCHEMA, queue, schema, streams, config)


async def write_report(database: Database, worker: str, report: str) -> None:
    await database.execute(WRITE_REPORT, worker, report)
