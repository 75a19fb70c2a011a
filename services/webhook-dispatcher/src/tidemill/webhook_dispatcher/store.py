"""What the dispatcher reads of deliveries, and its results in the form that runtime.deliveries writes."""

from typing import Final

from tidemill.runtime.db import Database, Row
from tidemill.runtime.deliveries import trying
from tidemill.runtime.deliveries.trying import Capacity, ProgressWebhook, Try
from tidemill.runtime.streams.urls import JOINS, STREAMS
from tidemill.webhook_dispatcher.circuit_breaker import RECORD_SUCCESS_EVERY_S
from tidemill.webhook_dispatcher.concurrency_limits import ConcurrencyLimits
from tidemill.webhook_dispatcher.sender import TryResult

# Progress with the same result is logged at most this often; it comes twice a second.
PROGRESS_LOG_EVERY_S: Final = 10.0
PURGE_BATCH: Final = 1000  # rows per deletion, so that none takes long

# Costs next to nothing if nothing is due, unlike `trying.LEASE` and `scheduling.PARK`.
ANY_DUE: Final = "SELECT EXISTS (SELECT FROM webhook_delivery WHERE status = 'pending' AND next_attempt_at <= now())"
PREDICTION: Final = f"""
SELECT p.*, a.webhook_secret, {STREAMS}, webhook_host(p.webhook) AS webhook_host,
    ARRAY(SELECT b.secret FROM webhook_secret_before b WHERE b.account_id = a.id AND b.signs_until > now()
        ORDER BY b.signs_until DESC) AS secrets_before,
    a.retention_s, EXISTS (SELECT FROM example x WHERE x.prediction_id = p.id) AS is_example,
    EXISTS (SELECT FROM webhook_delivery d WHERE d.prediction_id = p.id AND d.event = 'start') AS start_sent,
    EXISTS (SELECT FROM webhook_endpoint e WHERE e.account_id = p.account_id AND e.host = webhook_host(p.webhook)
        AND e.path IN ('', webhook_path(p.webhook)) AND (e.disabled_at IS NOT NULL OR e.open_until > now())) AS blocked
FROM prediction p JOIN account a ON a.id = p.account_id {JOINS}
WHERE p.id = $1 AND p.deleted_at IS NULL"""


async def any_due(database: Database) -> bool:
    return bool(await database.value(ANY_DUE))


async def lease(database: Database, limits: ConcurrencyLimits, limit: int, lease_s: float) -> list[Row]:
    """Lease due deliveries that there is room for, at most `limit`."""
    capacity = Capacity(
        min(limit, limits.free_slots), limits.full_accounts(), limits.full_endpoints(), limits.endpoint_tries
    )
    return await trying.lease(database, capacity, lease_s, RECORD_SUCCESS_EVERY_S)


async def prediction(database: Database, prediction_id: str) -> Row | None:
    """Return the prediction with its account's secrets and `blocked` (its endpoint is open or disabled), or None if
    deleted.
    """
    return await database.row(PREDICTION, prediction_id)


async def finish(database: Database, row: Row, status: str, result: TryResult, body: str | None) -> None:
    await trying.finish(database, _try(row, result), status, body)


async def retry(database: Database, row: Row, result: TryResult, body: str, wait_s: float) -> None:
    await trying.retry(database, _try(row, result), body, wait_s)


async def log_progress(database: Database, row: Row, delivery_id: str, event: str, result: TryResult) -> None:
    """Log a webhook of progress; `row` is the prediction's. The first is always logged, then samples."""
    status = "failed" if result.error else "delivered"
    webhook = ProgressWebhook(delivery_id, row["id"], row["account_id"], row["webhook"], event)
    done = Try(delivery_id, 1, result.status, result.error, result.entry())
    await trying.log_progress(database, webhook, done, status, PROGRESS_LOG_EVERY_S)


def _try(row: Row, result: TryResult) -> Try:
    return Try(row["id"], row["tries"] + 1, result.status, result.error, result.entry())
