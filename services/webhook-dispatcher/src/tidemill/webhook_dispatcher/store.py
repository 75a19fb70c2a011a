"""The SQL of deliveries. A row is leased while it is tried, so that a dispatcher that dies loses none."""

from typing import Final

from tidemill.runtime.db import Database, Row

# An endpoint that hangs holds its own few places: rows of endpoints that are busy here are left for later.
LEASE: Final = """
UPDATE webhook_delivery SET leased_until = now() + make_interval(secs => $3) WHERE id IN (
    SELECT id FROM webhook_delivery
    WHERE status = 'pending' AND next_attempt_at <= now() AND (leased_until IS NULL OR leased_until < now())
        AND NOT (account_id || ' ' || url = ANY ($2))
    ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, prediction_id, account_id, url, event, tries, body"""
KEEP_BODY: Final = "UPDATE webhook_delivery SET body = $2 WHERE id = $1 AND body IS NULL RETURNING body"
FINISH: Final = """
UPDATE webhook_delivery SET status = $2, tries = $3, leased_until = NULL, last_status = $4, last_error = $5,
    completed_at = now(), body = NULL WHERE id = $1"""
RETRY: Final = """
UPDATE webhook_delivery SET tries = $2, leased_until = NULL, last_status = $3, last_error = $4,
    next_attempt_at = now() + make_interval(secs => $5) WHERE id = $1"""
RELEASE: Final = "UPDATE webhook_delivery SET leased_until = NULL WHERE id = ANY ($1)"
PREDICTION: Final = """
SELECT p.*, a.webhook_secret, COALESCE(v.streams, false) AS streams
FROM prediction p JOIN account a ON a.id = p.account_id LEFT JOIN version v ON v.queue = p.queue WHERE p.id = $1"""


async def lease(database: Database, limit: int, busy: list[str], lease_s: float) -> list[Row]:
    return await database.fetch(LEASE, limit, busy, lease_s)


async def prediction(database: Database, prediction_id: str) -> Row | None:
    return await database.row(PREDICTION, prediction_id)


async def keep_body(database: Database, delivery_id: str, body: str) -> None:
    """Fixed at the first try: a retry sends the same bytes, also when the janitor has been."""
    await database.execute(KEEP_BODY, delivery_id, body)


async def finish(  # noqa: PLR0917 - the columns of a row
    database: Database, delivery_id: str, status: str, tries: int, last_status: int | None, error: str | None
) -> None:
    await database.execute(FINISH, delivery_id, status, tries, last_status, error)


async def retry(  # noqa: PLR0917 - the columns of a row
    database: Database, delivery_id: str, tries: int, last_status: int | None, error: str | None, wait_s: float
) -> None:
    await database.execute(RETRY, delivery_id, tries, last_status, error, wait_s)


async def release(database: Database, delivery_ids: list[str]) -> None:
    await database.execute(RELEASE, delivery_ids)
