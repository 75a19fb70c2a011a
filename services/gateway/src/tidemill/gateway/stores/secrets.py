"""The SQL of models' run-time secrets. The gateway writes sealed values only, and never reads or opens them."""

from typing import Final

from tidemill.contracts.api.model_secrets import SECRETS_LIMIT
from tidemill.runtime.db import Database, Row

_LIST: Final = "SELECT name, created_at, updated_at FROM model_secret WHERE model_id = $1 ORDER BY name"
_GET: Final = "SELECT name, created_at, updated_at FROM model_secret WHERE model_id = $1 AND name = $2"
_SET: Final = """
INSERT INTO model_secret (model_id, name, sealed) VALUES ($1, $2, $3)
ON CONFLICT (model_id, name) DO UPDATE SET sealed = EXCLUDED.sealed, updated_at = now()
RETURNING name, created_at, updated_at"""
_LOCK: Final = "SELECT FROM model WHERE id = $1 FOR NO KEY UPDATE"
_HAS_ROOM: Final = f"""
SELECT count(*) < {SECRETS_LIMIT} FROM model_secret WHERE model_id = $1 AND name <> $2"""
_DELETE: Final = "DELETE FROM model_secret WHERE model_id = $1 AND name = $2 RETURNING name"


async def list_all(database: Database, model_id: str) -> list[Row]:
    return await database.fetch(_LIST, model_id)


async def find(database: Database, model_id: str, name: str) -> Row | None:
    return await database.row(_GET, model_id, name)


async def save(database: Database, model_id: str, name: str, sealed: bytes) -> Row | None:
    """Set a secret. Return None when the model has SECRETS_LIMIT others.

    Raise ForeignKeyViolationError when the model was deleted at the same moment.
    """
    async with database.transaction() as connection:
        await connection.execute(_LOCK, model_id)  # serializes concurrent writes, so that each is counted
        if not await connection.fetchval(_HAS_ROOM, model_id, name):
            return None
        row: Row | None = await connection.fetchrow(_SET, model_id, name, sealed)
        return row


async def delete(database: Database, model_id: str, name: str) -> bool:
    return await database.value(_DELETE, model_id, name) is not None
