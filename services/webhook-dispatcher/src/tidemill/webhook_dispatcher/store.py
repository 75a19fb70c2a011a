"""The SQL of deliveries. A row is leased while it is tried, so that a dispatcher that dies loses none."""

from typing import Final

from tidemill.runtime.db import Database, Row
from tidemill.webhook_dispatcher.lanes import Lanes

# Endpoints and accounts that have all their places taken are left out, the others take turns: so neither a receiver
# that hangs nor an account with a long line of deliveries delays another account's first try.
LEASE: Final = """
WITH due AS (
    SELECT id, account_id, lower(split_part(url, '/', 3)) AS host, next_attempt_at FROM webhook_delivery
    WHERE status = 'pending' AND next_attempt_at <= now() AND (leased_until IS NULL OR leased_until < now())
        AND account_id <> ALL ($2)
        AND account_id || ' ' || lower(split_part(url, '/', 3)) <> ALL ($3)
), in_line AS (
    SELECT id, next_attempt_at,
        row_number() OVER (PARTITION BY account_id, host ORDER BY next_attempt_at) AS at_endpoint,
        row_number() OVER (PARTITION BY account_id ORDER BY next_attempt_at) AS of_account
    FROM due
), turn AS (
    SELECT id FROM in_line WHERE at_endpoint <= $4 ORDER BY of_account, next_attempt_at LIMIT $1
), free AS (
    SELECT id FROM webhook_delivery
    WHERE id IN (SELECT id FROM turn) AND status = 'pending' AND (leased_until IS NULL OR leased_until < now())
    FOR UPDATE SKIP LOCKED)
UPDATE webhook_delivery SET leased_until = now() + make_interval(secs => $5)
WHERE id IN (SELECT id FROM free)
RETURNING id, prediction_id, account_id, url, event, tries, body"""
# What follows is fenced by the number of tries: whoever comes after the lease has run out changes nothing.
KEEP_BODY: Final = "UPDATE webhook_delivery SET body = $2 WHERE id = $1 AND body IS NULL RETURNING body"
FINISH: Final = """
UPDATE webhook_delivery SET status = $2, tries = $3, leased_until = NULL, last_status = $4, last_error = $5,
    completed_at = now(), body = NULL WHERE id = $1 AND status = 'pending' AND tries = $3 - 1"""
RETRY: Final = """
UPDATE webhook_delivery SET tries = $2, leased_until = NULL, last_status = $3, last_error = $4,
    next_attempt_at = now() + make_interval(secs => $5) WHERE id = $1 AND status = 'pending' AND tries = $2 - 1"""
RELEASE: Final = "UPDATE webhook_delivery SET leased_until = NULL WHERE id = ANY ($1)"
PREDICTION: Final = """
SELECT p.*, a.webhook_secret, COALESCE(v.streams, false) AS streams
FROM prediction p JOIN account a ON a.id = p.account_id LEFT JOIN queue_version v ON v.queue = p.queue WHERE p.id = $1"""


async def lease(database: Database, lanes: Lanes, limit: int, lease_s: float) -> list[Row]:
    """Due deliveries that there is room for, at most `limit`; a few may be too many for their endpoint."""
    full = lanes.full_accounts(), lanes.full_endpoints()
    return await database.fetch(LEASE, min(limit, lanes.room), *full, lanes.endpoint_tries, lease_s)


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
