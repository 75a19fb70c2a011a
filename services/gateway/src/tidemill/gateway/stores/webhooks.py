"""The SQL of webhooks for the API: signing secrets, endpoints, deliveries. The dispatcher sends deliveries."""

from datetime import datetime
from typing import Any, Final

from tidemill.contracts.api.webhooks import SIGNING_LIMIT
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.accounts.life import replace_webhook_secret
from tidemill.runtime.db import Database, Row
from tidemill.runtime.deliveries.scheduling import DISABLED_REASON, hurry
from tidemill.runtime.streams.urls import JOINS, STREAMS

_SECRET: Final = "SELECT webhook_secret FROM account WHERE id = $1"  # noqa: S105 - a statement, not a secret
_LOCK_SECRET: Final = "SELECT webhook_secret FROM account WHERE id = $1 FOR UPDATE"  # noqa: S105 - as above
_SECRETS: Final = """
SELECT a.webhook_secret, ARRAY(SELECT b.secret FROM webhook_secret_before b
    WHERE b.account_id = a.id AND b.signs_until > now() ORDER BY b.signs_until DESC) AS secrets_before
FROM account a WHERE a.id = $1"""
_FORGET: Final = "DELETE FROM webhook_secret_before WHERE account_id = $1 AND (signs_until <= now() OR $2)"
_SIGNING: Final = "SELECT count(*) FROM webhook_secret_before WHERE account_id = $1"
_RETIRE: Final = """
INSERT INTO webhook_secret_before (account_id, secret, signs_until)
VALUES ($1, $2, now() + make_interval(secs => $3)) RETURNING signs_until"""

# A receiver's response may quote the data. `data_removed` hides it also before the janitor has removed it.
_DELIVERY: Final = """
SELECT d.*, COALESCE(p.data_removed, true) AS data_removed,
    p.id IS NULL OR p.deleted_at IS NOT NULL AS prediction_deleted
FROM webhook_delivery d LEFT JOIN prediction p ON p.id = d.prediction_id
WHERE d.id = $1 AND d.account_id = $2"""
_DISABLED: Final = f"SELECT ({DISABLED_REASON}) FROM webhook_delivery d WHERE d.id = $1"

_ENDPOINT: Final = "SELECT *, now() AS now FROM webhook_endpoint WHERE id = $1 AND account_id = $2"
_ENABLE: Final = """
UPDATE webhook_endpoint SET failures = 0, failing_since = NULL, openings = 0, open_until = NULL, disabled_at = NULL,
    disabled_reason = NULL WHERE id = $1 AND account_id = $2"""

_AT_ENDPOINT: Final = """EXISTS (SELECT FROM webhook_endpoint e
    WHERE e.id = $%d AND e.account_id = d.account_id AND e.host = d.host AND e.path IN ('', d.path))"""

# For `GET /webhooks/listen`: the prediction as in its webhook, and the id of the delivery.
_MIRRORED: Final = f"""
SELECT p.*, {STREAMS}, a.retention_s,
    EXISTS (SELECT FROM example x WHERE x.prediction_id = p.id) AS is_example,
    (SELECT d.id FROM webhook_delivery d WHERE d.prediction_id = p.id AND d.event = 'completed' LIMIT 1) AS delivery
FROM prediction p JOIN account a ON a.id = p.account_id {JOINS}
WHERE p.id = $1 AND p.account_id = $2 AND p.deleted_at IS NULL"""
_MISSED: Final = """
SELECT id, prediction_id FROM webhook_delivery
WHERE account_id = $1 AND id > $2 AND event = 'completed' ORDER BY id LIMIT $3"""


async def find_secret(database: Database, account_id: str) -> str | None:
    value: str | None = await database.value(_SECRET, account_id)
    return value


async def list_signing_secrets(database: Database, account_id: str) -> list[str]:
    """Return all secrets that sign now, the newest first."""
    row = await database.row(_SECRETS, account_id)
    return [] if row is None else [row["webhook_secret"], *row["secrets_before"]]


async def rotate_secret(database: Database, account_id: str, new: str, overlap_s: int) -> tuple[bool, datetime | None]:
    """Make `new` the secret. Return True, and until when the one before also signs (None: no longer).

    Return False and None when SIGNING_LIMIT secrets sign already. With an overlap of 0 only `new` signs.
    """
    async with database.transaction() as connection:
        before = await connection.fetchval(_LOCK_SECRET, account_id)
        await connection.execute(_FORGET, account_id, overlap_s == 0)
        until = None
        if overlap_s > 0:
            if await connection.fetchval(_SIGNING, account_id) >= SIGNING_LIMIT - 1:
                return False, None
            until = await connection.fetchval(_RETIRE, account_id, before, float(overlap_s))
        await replace_webhook_secret(connection, account_id, new)
    return True, until


async def deliveries_page(
    database: Database, account_id: str, query: queries.DeliveriesQuery, cursor: Cursor | None, limit: int
) -> list[Row]:
    operator, order, position = comparison(cursor)
    where: list[str] = ["d.account_id = $1", f"d.id {operator} $2"]
    arguments: list[Any] = [account_id, position, limit]
    for condition, value in (
        ("d.prediction_id = $%d", query.prediction),
        ("d.status = $%d", query.status),
        (_AT_ENDPOINT, query.endpoint),
    ):
        if value is not None:
            arguments.append(value)
            where.append(condition % len(arguments))
    columns = (
        "d.id, d.prediction_id, d.event, d.url, d.status, d.tries, d.last_status, d.last_error, d.next_attempt_at,"
        " d.created_at, d.completed_at"
    )
    sql = f"SELECT {columns} FROM webhook_delivery d WHERE {' AND '.join(where)} ORDER BY d.id {order} LIMIT $3"
    return await database.fetch(sql, *arguments)


async def find_delivery(database: Database, delivery_id: str, account_id: str) -> Row | None:
    return await database.row(_DELIVERY, delivery_id, account_id)


async def find_disabled_reason(database: Database, delivery_id: str) -> str | None:
    """Return why the delivery's endpoint is disabled, or None if it is not."""
    reason: str | None = await database.value(_DISABLED, delivery_id)
    return reason


async def endpoints_page(database: Database, account_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    sql = (
        f"SELECT *, now() AS now FROM webhook_endpoint WHERE account_id = $1 AND id {operator} $2"
        f" ORDER BY id {order} LIMIT $3"
    )
    return await database.fetch(sql, account_id, position, limit)


async def find_endpoint(database: Database, endpoint_id: str, account_id: str) -> Row | None:
    return await database.row(_ENDPOINT, endpoint_id, account_id)


async def enable_endpoint(database: Database, endpoint_id: str, account_id: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(_ENABLE, endpoint_id, account_id)
        await hurry(connection, endpoint_id, account_id)


async def find_mirrored(database: Database, prediction_id: str, account_id: str) -> Row | None:
    return await database.row(_MIRRORED, prediction_id, account_id)


async def list_missed(database: Database, account_id: str, after_id: str, limit: int) -> list[Row]:
    """Return `completed` deliveries after the one with this id, the oldest first."""
    return await database.fetch(_MISSED, account_id, after_id, limit)
