"""The SQL of examples: predictions that show what a model does. Their data is kept while they are examples."""

from collections.abc import Sequence
from typing import Final

from tidemill.contracts.limits import EXAMPLES_LIMIT
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row
from tidemill.runtime.predictions.removal import defer
from tidemill.runtime.predictions.sharing import replace_input

# The janitor may be removing the data of a prediction due this soon: its files could go while it becomes an example.
MARGIN_S: Final = 10

_DEFAULTS: Final = """
SELECT DISTINCT ON (e.model_id) e.model_id, p.*
FROM example e JOIN model m ON m.id = e.model_id JOIN prediction p ON p.id = e.prediction_id
WHERE e.model_id = ANY ($1)
ORDER BY e.model_id, COALESCE(e.prediction_id = m.default_example, false) DESC, e.added_at, e.prediction_id"""
_FIND: Final = """
SELECT p.* FROM example e JOIN prediction p ON p.id = e.prediction_id WHERE e.model_id = $1 AND e.prediction_id = $2"""
# `kept`: the janitor will not remove its data: it is not due yet, or is excluded from retention.
_CANDIDATE: Final = """
SELECT p.*, v.secret_inputs, (p.source <> 'api' OR p.shared_at IS NOT NULL
    OR EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id)
    OR p.completed_at + make_interval(secs => COALESCE(a.retention_s, $3)::float8)
        > clock_timestamp() + make_interval(secs => $4::float8)) AS kept
FROM prediction p JOIN account a ON a.id = p.account_id
    LEFT JOIN version v ON v.model_id = $5 AND v.id = p.version
WHERE p.id = $1 AND p.account_id = $2 AND p.kind = 'prediction' AND p.deleted_at IS NULL"""
# The lock on the model's row serializes concurrent additions, so that each is counted.
_LOCK: Final = "SELECT id FROM model WHERE id = $1 FOR NO KEY UPDATE"
_ADD: Final = f"""
INSERT INTO example (model_id, prediction_id)
SELECT $1, p.id FROM prediction p
WHERE p.id = $2 AND NOT p.data_removed AND p.deleted_at IS NULL
    AND (SELECT count(*) FROM example WHERE model_id = $1) < {EXAMPLES_LIMIT}
RETURNING prediction_id"""
_REMOVE: Final = "DELETE FROM example WHERE model_id = $1 AND prediction_id = $2 RETURNING prediction_id"
_FILES: Final = """
SELECT id, name, object_key FROM file WHERE id = ANY ($1) AND account_id = $2 AND expires_at > clock_timestamp()"""


async def find_defaults(database: Database, model_ids: Sequence[str]) -> dict[str, Row]:
    """Return the prediction shown with each model, by model id: the chosen example, else the first."""
    return {row["model_id"]: row for row in await database.fetch(_DEFAULTS, list(model_ids))}


async def page(database: Database, model_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    """Sorted by prediction, the newest first."""
    operator, order, position = comparison(cursor)
    sql = f"""SELECT p.* FROM example e JOIN prediction p ON p.id = e.prediction_id
        WHERE e.model_id = $1 AND e.prediction_id {operator} $2 ORDER BY e.prediction_id {order} LIMIT $3"""
    return await database.fetch(sql, model_id, position, limit)


async def find(database: Database, model_id: str, prediction_id: str) -> Row | None:
    return await database.row(_FIND, model_id, prediction_id)


async def find_candidate(
    database: Database, account_id: str, prediction_id: str, model_id: str, retention_s: int
) -> Row | None:
    """Return the account's prediction, of any model. `kept`: whether its data stays for MARGIN_S at least."""
    return await database.row(_CANDIDATE, prediction_id, account_id, retention_s, MARGIN_S, model_id)


async def add(database: Database, model_id: str, prediction_id: str, rewritten_input: str | None) -> bool:
    """Return False when the model has EXAMPLES_LIMIT examples or the prediction's data was removed."""
    async with database.transaction() as connection:
        await connection.fetchval(_LOCK, model_id)
        if await connection.fetchval(_ADD, model_id, prediction_id) is None:
            return False
        if rewritten_input is not None:
            await replace_input(connection, prediction_id, rewritten_input)
    return True


async def remove(database: Database, model_id: str, prediction_id: str) -> bool:
    async with database.transaction() as connection:
        if await connection.fetchval(_REMOVE, model_id, prediction_id) is None:
            return False
        await defer(connection, [prediction_id])  # the janitor's scan may have passed it as an example
    return True


async def find_files(database: Database, account_id: str, file_ids: Sequence[str]) -> dict[str, Row]:
    """Return the account's uploads that have not expired, by id."""
    return {row["id"]: row for row in await database.fetch(_FILES, list(file_ids), account_id)}
