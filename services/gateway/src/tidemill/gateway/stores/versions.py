"""The SQL of versions. The row of a deleted version goes at once; `removed_version` notes what is left to clean up."""

from typing import Final, NamedTuple

import asyncpg

from tidemill.contracts.prediction import SQL_OPEN
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.gateway.stores.models import MICROSECONDS, VERSION, VISIBLE
from tidemill.runtime.db import Database, Row

_FIND_INPUT_PROPERTIES: Final = """
SELECT v.openapi_schema #> '{components,schemas,Input,properties}'
FROM version v JOIN model m ON m.id = v.model_id WHERE m.owner = $1 AND m.name = $2 AND v.id = $3"""
# An id names one version of one model. Old ids do not contain the model, so several models with the same files may have
# a version with this id: the account's own comes first, then the oldest.
_FIND_RUNNABLE: Final = f"""
SELECT v.queue, v.id, v.openapi_schema, v.streams, v.streams_files, v.secret_inputs, m.owner, m.name
FROM version v JOIN model m ON m.id = v.model_id
WHERE {VISIBLE} AND ($2::text IS NULL OR (m.owner = $2 AND m.name = $3))
    AND (v.id = $4 OR ($4::text IS NULL AND v.queue = m.latest_queue))
ORDER BY m.account_id = $1 DESC, v.created_at LIMIT 1"""
_KEY: Final = f'({MICROSECONDS.format(moment="v.created_at")} || v.queue) COLLATE "C"'

SCAN_LIMIT_S: Final = 20  # for finding out who ran a version; tens of millions of predictions take seconds
# Only a model that was public can have been run by others. No prediction is older than its version, apart from the
# differences of the gateways' clocks; the index on accepted_at excludes older ones.
_RUN_BY_OTHERS: Final = """
SELECT EXISTS (
    SELECT FROM version v JOIN model m ON m.id = v.model_id
        JOIN prediction p ON p.accepted_at > v.created_at - interval '1 hour' AND p.version = v.id
            AND p.model = m.owner || '/' || m.name AND p.account_id <> m.account_id
    WHERE v.queue = $1 AND m.published_at IS NOT NULL)"""

# The lock prevents new releases of the version.
_LOCK: Final = """
SELECT v.queue, v.id, v.model_id, v.created_at, m.owner || '/' || m.name AS model, m.account_id
FROM version v JOIN model m ON m.id = v.model_id WHERE v.queue = $1 FOR UPDATE OF v, m"""
_DEPLOYED: Final = """
SELECT d.owner || '/' || d.name FROM release r JOIN deployment d ON d.id = r.deployment_id
WHERE r.version_queue = $1 AND r.retired_at IS NULL LIMIT 1"""
_TRAINING: Final = f"""
SELECT EXISTS (SELECT FROM prediction p JOIN training_queue t ON t.queue = p.queue
    WHERE p.kind = 'training' AND p.account_id = $2 AND t.version_queue = $1
        AND p.status IN {SQL_OPEN})"""
_NOTE: Final = """
INSERT INTO removed_version (queue, id, model, account_id, created_at) VALUES ($1, $2, $3, $4, $5)"""
_DELETE_EXAMPLES: Final = """
DELETE FROM example e USING prediction p
WHERE e.model_id = $1 AND p.id = e.prediction_id AND p.version = $2"""
_NEWEST: Final = """
UPDATE model SET latest_queue = (
    SELECT queue FROM version WHERE model_id = $1 ORDER BY created_at DESC, queue DESC LIMIT 1)
WHERE id = $1 AND latest_queue = $2"""


class VersionInUse(NamedTuple):
    """Why a version cannot be deleted."""

    reason: str


class ScanTimeout(Exception):  # noqa: N818 - named after the situation
    """SCAN_LIMIT_S was not enough to find out who ran the version."""


async def page(database: Database, model_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    sql = f"""SELECT {VERSION}, {_KEY} AS id FROM version v
        WHERE v.model_id = $1 AND {_KEY} {operator} $2 ORDER BY {_KEY} {order} LIMIT $3"""
    return await database.fetch(sql, model_id, position, limit)


async def find(database: Database, model_id: str, version_id: str) -> Row | None:
    sql = f"SELECT v.queue, {VERSION} FROM version v WHERE v.model_id = $1 AND v.id = $2"
    return await database.row(sql, model_id, version_id)


async def find_runnable(
    database: Database, account_id: str, owner: str | None, name: str | None, version_id: str | None
) -> Row | None:
    """Return a version that the account may run: by its id, by its model (the latest version), or by both."""
    return await database.row(_FIND_RUNNABLE, account_id, owner, name, version_id)


async def find_input_properties(database: Database, model: str, version_id: str) -> str | None:
    """Return the JSON of the input properties in the version's schema. None if the version was deleted."""
    owner, _, name = model.partition("/")
    found: str | None = await database.value(_FIND_INPUT_PROPERTIES, owner, name, version_id)
    return found


async def is_run_by_others(database: Database, queue: str) -> bool:
    """Whether another account has ever run the version. Raise ScanTimeout."""
    async with database.transaction() as connection:
        await connection.execute(f"SET LOCAL statement_timeout = '{SCAN_LIMIT_S}s'")
        try:
            found: bool = await connection.fetchval(_RUN_BY_OTHERS, queue)
        except asyncpg.QueryCanceledError:
            raise ScanTimeout from None
    return found


async def delete(database: Database, queue: str) -> VersionInUse | None:
    """Delete the version, note it for the janitor, and make the next newest the latest. Can be repeated."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(_LOCK, queue)
        if row is None:
            return None
        deployment = await connection.fetchval(_DEPLOYED, queue)
        if deployment is not None:
            return VersionInUse(f"The deployment {deployment} runs this version.")
        if await connection.fetchval(_TRAINING, queue, row["account_id"]):
            return VersionInUse("A training of this version is under way.")
        await connection.execute(_NOTE, queue, row["id"], row["model"], row["account_id"], row["created_at"])
        await connection.execute(_DELETE_EXAMPLES, row["model_id"], row["id"])
        await connection.execute("DELETE FROM version WHERE queue = $1", queue)
        await connection.execute(_NEWEST, row["model_id"], queue)
    return None
