"""Scheduling: when a delivery is due, by what its owner asks for and by the health of its endpoint."""

from typing import Any, Final

from tidemill.contracts.api.webhooks import TRIES_LIMIT
from tidemill.runtime.db import Database

# Why the delivery's endpoint is disabled; NULL if it is not.
DISABLED_REASON: Final = """
    SELECT e.disabled_reason FROM webhook_endpoint e
    WHERE e.account_id = d.account_id AND e.host = d.host AND e.path IN ('', d.path) AND e.disabled_at IS NOT NULL
    ORDER BY e.path LIMIT 1"""
REDELIVER: Final = f"""
UPDATE webhook_delivery d SET status = 'pending', next_attempt_at = now(), completed_at = NULL,
    redelivery = (d.status <> 'pending' OR d.redelivery)
WHERE d.id = $1 AND d.account_id = $2 AND d.event = 'completed' AND d.tries < {TRIES_LIMIT}
    AND ({DISABLED_REASON}) IS NULL
    AND EXISTS (SELECT FROM prediction p WHERE p.id = d.prediction_id AND p.deleted_at IS NULL)"""
HURRY: Final = """
UPDATE webhook_delivery d SET next_attempt_at = now() FROM webhook_endpoint e
WHERE e.id = $1 AND e.account_id = $2 AND d.account_id = e.account_id AND d.host = e.host AND e.path IN ('', d.path)
    AND d.status = 'pending'"""
UNPARK: Final = """
UPDATE webhook_delivery d SET next_attempt_at = now() FROM webhook_endpoint e
WHERE e.id = $1 AND d.account_id = e.account_id AND d.host = e.host AND d.status = 'pending'
    AND d.next_attempt_at = e.open_until"""
PARK: Final = """
UPDATE webhook_delivery SET next_attempt_at = due.open_until FROM (
    SELECT d.id, e.open_until FROM webhook_endpoint e JOIN webhook_delivery d
        ON d.account_id = e.account_id AND d.host = e.host
    WHERE e.path = '' AND e.open_until > now() AND e.disabled_at IS NULL AND d.status = 'pending'
        AND d.next_attempt_at <= now() AND NOT d.redelivery AND (d.leased_until IS NULL OR d.leased_until < now())
    ORDER BY d.id LIMIT $1 FOR UPDATE OF d SKIP LOCKED) due
WHERE webhook_delivery.id = due.id"""
SKIP: Final = """
UPDATE webhook_delivery SET status = 'skipped', completed_at = now(), leased_until = NULL, redelivery = false,
    last_error = 'the endpoint is disabled: ' || due.disabled_reason
FROM (
    SELECT d.id, e.disabled_reason FROM webhook_endpoint e JOIN webhook_delivery d
        ON d.account_id = e.account_id AND d.host = e.host AND (e.path = '' OR e.path = d.path)
    WHERE e.disabled_at IS NOT NULL AND d.status = 'pending' AND d.next_attempt_at <= now()
        AND (d.leased_until IS NULL OR d.leased_until < now())
    ORDER BY d.id LIMIT $1 FOR UPDATE OF d SKIP LOCKED) due
WHERE webhook_delivery.id = due.id RETURNING webhook_delivery.id"""


async def redeliver(database: Database, delivery: str, account: str) -> bool:
    """Make the account's delivery due now. A pending one is only brought forward: its schedule goes on.

    Return False if it cannot be: it is no end, was tried too often, its prediction is deleted or its endpoint disabled.

    Callers: the gateway. Fence: the conditions above. Cost: probes of the primary keys and of the endpoint's key.
    """
    return bool((await database.pool.execute(REDELIVER, delivery, account)).endswith(" 1"))


async def hurry(connection: Any, endpoint: str, account: str) -> None:
    """Make all pending deliveries of the account's endpoint due now.

    Callers: the gateway, when an owner enables an endpoint. Fence: the status pending.
    Cost: the endpoint's pending deliveries, by the index on account and host.
    """
    await connection.execute(HURRY, endpoint, account)


async def unpark(connection: Any, endpoint: str) -> None:
    """Make due what was put off until the endpoint's breaker would close, or until its probe could have died.

    Callers: dispatchers, in the transaction that closes the breaker. Fence: the status pending; the time.
    Cost: the endpoint's pending deliveries, by the index on account and host.
    """
    await connection.execute(UNPARK, endpoint)


async def park(database: Database, limit: int) -> None:
    """Put off what is due at endpoints whose breaker is open until that closes, at most `limit` deliveries.

    So what is due stays short, however many deliveries wait for such an endpoint.

    Callers: dispatchers. Fence: the status pending; no lease; no redelivery. Cost: `limit` rows, by their index.
    """
    await database.execute(PARK, limit)


async def skip(database: Database, limit: int) -> int:
    """End what is due at disabled endpoints, at most `limit` deliveries. Return how many.

    Callers: dispatchers. Fence: the status pending; no lease. Cost: `limit` rows, by their index.
    """
    return len(await database.fetch(SKIP, limit))
