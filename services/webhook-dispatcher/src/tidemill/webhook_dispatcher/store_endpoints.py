"""The SQL of endpoints: their health, shared by all dispatchers, and its effect on waiting deliveries."""

from collections.abc import Callable
from typing import Final

from tidemill.contracts.ids import new_id
from tidemill.runtime.db import Database, Row
from tidemill.runtime.deliveries import scheduling
from tidemill.webhook_dispatcher.circuit_breaker import EndpointHealth
from tidemill.webhook_dispatcher.concurrency_limits import EndpointKey

BATCH: Final = 5000  # rows per statement, so that none takes long
Decide = Callable[[EndpointHealth, float], EndpointHealth | None]

ENSURE: Final = """
INSERT INTO webhook_endpoint (id, account_id, host, path) VALUES ($1, $2, $3, $4)
ON CONFLICT (account_id, host, path) DO NOTHING"""
LOCK: Final = """
SELECT id, failures, openings, disabled_reason, extract(epoch FROM clock_timestamp())::float8 AS now,
    extract(epoch FROM failing_since)::float8 AS failing_since, extract(epoch FROM open_until)::float8 AS open_until,
    extract(epoch FROM disabled_at)::float8 AS disabled_at, extract(epoch FROM succeeded_at)::float8 AS succeeded_at,
    extract(epoch FROM failed_at)::float8 AS failed_at
FROM webhook_endpoint WHERE account_id = $1 AND host = $2 AND path = $3 FOR UPDATE"""
WRITE: Final = """
UPDATE webhook_endpoint SET failures = $2, failing_since = to_timestamp($3), openings = $4,
    open_until = to_timestamp($5), disabled_at = to_timestamp($6), disabled_reason = $7,
    succeeded_at = to_timestamp($8), failed_at = to_timestamp($9)
WHERE id = $1"""
# The number of gone paths is unbounded, and a path that is still gone responds 410 again. An idle healthy endpoint gets
# its row back with the next delivery.
PURGE: Final = """
DELETE FROM webhook_endpoint WHERE id IN (
    SELECT id FROM webhook_endpoint
    WHERE (disabled_at < now() - make_interval(secs => $1) AND path <> '')
        OR (disabled_at IS NULL AND failures = 0 AND created_at < now() - make_interval(secs => $1)
            AND COALESCE(succeeded_at, created_at) < now() - make_interval(secs => $1))
    LIMIT $2) RETURNING id"""


async def update_health(database: Database, endpoint: EndpointKey, path: str, decide: Decide) -> EndpointHealth | None:
    """Change an endpoint's health under a row lock. Return the result of `decide`.

    `decide` gets the health and the database's time in unix seconds; it returns the new health, or None for no change.
    """
    async with database.transaction() as connection:
        await connection.execute(ENSURE, new_id(), endpoint.account, endpoint.host, path)
        row = await connection.fetchrow(LOCK, endpoint.account, endpoint.host, path)
        assert row is not None, "the row was inserted in this transaction"
        before = _health(row)
        health = decide(before, row["now"])
        if health is not None:
            if before.open_until is not None and health.open_until is None:
                await scheduling.unpark(connection, row["id"])
            await connection.execute(WRITE, row["id"], *_columns(health))
    return health


def _health(row: Row) -> EndpointHealth:
    return EndpointHealth(**{name: row[name] for name in EndpointHealth.__struct_fields__})


def _columns(health: EndpointHealth) -> tuple[object, ...]:
    return (
        health.failures,
        health.failing_since,
        health.openings,
        health.open_until,
        health.disabled_at,
        health.disabled_reason,
        health.succeeded_at,
        health.failed_at,
    )


async def purge(database: Database, unused_s: float) -> int:
    return len(await database.fetch(PURGE, unused_s, BATCH))
