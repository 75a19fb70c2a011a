"""The SQL of worker leases, and what the worker reads about its jobs. Only runtime.predictions writes predictions."""

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


async def read_input(database: Database, prediction_id: str, attempt: int) -> bytes | None:
    text = await database.value(INPUT, prediction_id, attempt)
    return None if text is None else str(text).encode()


async def version(database: Database, queue: str) -> Row | None:
    return await database.row(VERSION, queue)
