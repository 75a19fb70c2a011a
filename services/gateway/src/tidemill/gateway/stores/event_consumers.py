"""The SQL of durable event consumers."""

from collections.abc import Collection
from typing import Final

from tidemill.contracts.api.event_consumers import EVENT_CONSUMERS_LIMIT
from tidemill.contracts.ids import new_id
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row

# Two concurrent creates may both pass the limit. It bounds a cost only, so this does no harm.
_INSERT: Final = """
INSERT INTO event_consumer (id, account_id, name, kinds)
SELECT $1, $2, $3, $4::text[] WHERE (SELECT count(*) FROM event_consumer WHERE account_id = $2) < $5
ON CONFLICT (account_id, name) DO NOTHING RETURNING *"""
_NAME_TAKEN: Final = "SELECT true FROM event_consumer WHERE account_id = $1 AND name = $2"
_ALL: Final = "SELECT * FROM event_consumer WHERE account_id = $1"
_ONE: Final = "SELECT * FROM event_consumer WHERE account_id = $1 AND id = $2"
_DELETE: Final = "DELETE FROM event_consumer WHERE account_id = $1 AND id = $2 RETURNING id"


async def create(database: Database, account_id: str, name: str, kinds: Collection[str]) -> Row | None:
    """Return None when the name is taken or the account has EVENT_CONSUMERS_LIMIT of them."""
    return await database.row(_INSERT, new_id(), account_id, name, list(kinds), EVENT_CONSUMERS_LIMIT)


async def is_name_taken(database: Database, account_id: str, name: str) -> bool:
    return bool(await database.value(_NAME_TAKEN, account_id, name))


async def list_all(database: Database, account_id: str) -> list[Row]:
    return await database.fetch(_ALL, account_id)


async def page(database: Database, account_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    return await database.fetch(
        f"{_ALL} AND id {operator} $2 ORDER BY id {order} LIMIT $3", account_id, position, limit
    )


async def find(database: Database, account_id: str, identifier: str) -> Row | None:
    return await database.row(_ONE, account_id, identifier)


async def delete(database: Database, account_id: str, identifier: str) -> bool:
    return await database.value(_DELETE, account_id, identifier) is not None
