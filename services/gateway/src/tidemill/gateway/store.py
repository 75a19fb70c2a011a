"""The SQL of the gateway, but for the hot statement in `accept` and the look-ups of `auth` and `versions`."""

from typing import Any

from tidemill.gateway import queries
from tidemill.gateway.cursors import Cursor
from tidemill.gateway.pages import comparison
from tidemill.runtime.db import Database, Row

_FROM = """
SELECT p.*, COALESCE(v.streams, false) AS streams
FROM prediction p LEFT JOIN queue_version v ON v.queue = p.queue"""


async def prediction(database: Database, prediction_id: str, account_id: str) -> Row | None:
    return await database.row(f"{_FROM} WHERE p.id = $1 AND p.account_id = $2", prediction_id, account_id)


async def predictions(
    database: Database, account_id: str, asked: queries.Predictions, cursor: Cursor | None, limit: int
) -> list[Row]:
    operator, order, position = comparison(cursor)
    where: list[str] = ["p.account_id = $1", f"p.id {operator} $2"]
    arguments: list[Any] = [account_id, position, limit]
    for column, value in (
        ("p.created_at >=", asked.created_after),
        ("p.created_at <", asked.created_before),
        ("p.source =", asked.source),
    ):
        if value is not None:
            arguments.append(value)
            where.append(f"{column} ${len(arguments)}")
    sql = f"{_FROM} WHERE {' AND '.join(where)} ORDER BY p.id {order} LIMIT $3"
    return await database.fetch(sql, *arguments)
