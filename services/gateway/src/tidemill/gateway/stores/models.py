"""The SQL of models. Another account's model is visible if public, and listed if it has a version and an example."""

from collections.abc import Mapping
from typing import Final

import msgspec

from tidemill.contracts.api.models import CreateModel, UpdateModel
from tidemill.contracts.ids import new_id
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row

MODELS_LIMIT: Final = 1000  # per account, as on Replicate

# Times are not unique: the id after the microseconds makes the order unique, as text that a cursor can hold.
MICROSECONDS: Final = "to_char(extract(epoch FROM {moment}) * 1000000, 'FM00000000000000000')"
VERSION: Final = """v.id AS version_id, v.cog_version, v.openapi_schema, v.created_at AS version_created_at,
    COALESCE(v.digest, v.id) AS version_digest,
    v.config ->> 'warnings' AS version_warnings"""
MODEL: Final = f"""
SELECT m.id AS model_id, m.account_id, m.owner, m.name, m.visibility, m.hardware, m.description, m.github_url,
    m.paper_url, m.license_url, m.weights_url, m.cover_image_url, m.run_count, m.created_at, a.official, {VERSION}"""
FROM: Final = """
FROM model m JOIN account a ON a.id = m.account_id LEFT JOIN version v ON v.queue = m.latest_queue"""
VISIBLE: Final = "(m.visibility = 'public' OR m.account_id = $1)"
LISTED: Final = """(m.visibility = 'public' AND v.queue IS NOT NULL
    AND EXISTS (SELECT FROM example e WHERE e.model_id = m.id))"""

_CREATE: Final = """
INSERT INTO model (id, account_id, owner, name, visibility, hardware, description, github_url, paper_url, license_url,
    cover_image_url, published_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, CASE WHEN $5 = 'public' THEN now() END
WHERE (SELECT count(*) FROM model WHERE account_id = $2) < $12
ON CONFLICT (owner, name) DO NOTHING RETURNING id"""
_OWN: Final = "SELECT id FROM model WHERE account_id = $1 AND owner = $2 AND name = $3"
_README: Final = f"SELECT m.readme FROM model m WHERE m.owner = $2 AND m.name = $3 AND {VISIBLE}"

# Columns that an update may name, and what every update also sets.
UPDATABLE: Final = frozenset(field.name for field in msgspec.structs.fields(UpdateModel))
_PUBLISHED: Final = "published_at = COALESCE(published_at, CASE WHEN visibility = 'public' THEN now() END)"

_KEYS: Final = {
    "model_created_at": "m.created_at",
    "latest_version_created_at": "COALESCE(v.created_at, m.created_at)",
}

# A model is not deleted during a push: the version would have no model.
_BUSY: Final = "EXISTS (SELECT FROM push WHERE model_id = $1 AND status IN ('queued', 'building'))"


def _comparison(cursor: Cursor | None, query: queries.ModelsQuery) -> tuple[str, str, str]:
    operator, order, position = comparison(cursor)
    if query.sort_direction == "desc":
        return operator, order, position
    start = "" if cursor is None else position
    return (">", "ASC", start) if operator == "<" else ("<", "DESC", start)


async def page(
    database: Database, account_id: str, query: queries.ModelsQuery, cursor: Cursor | None, limit: int
) -> list[Row]:
    """Return listed models. With an owner: only his, and for the account's own name also those that are not listed."""
    operator, order, position = _comparison(cursor, query)
    key = f'({MICROSECONDS.format(moment=_KEYS[query.sort_by])} || m.id) COLLATE "C"'
    sql = f"""{MODEL}, {key} AS id {FROM}
        WHERE {key} {operator} $1 AND ($3::text IS NULL OR m.owner = $3)
            AND ({LISTED} OR ($3::text IS NOT NULL AND m.account_id = $4))
        ORDER BY {key} {order} LIMIT $2"""
    return await database.fetch(sql, position, limit, query.owner, account_id)


async def find(database: Database, account_id: str, owner: str, name: str) -> Row | None:
    return await database.row(
        f"{MODEL} {FROM} WHERE m.owner = $2 AND m.name = $3 AND {VISIBLE}", account_id, owner, name
    )


async def find_own_id(database: Database, account_id: str, owner: str, name: str) -> str | None:
    found: str | None = await database.value(_OWN, account_id, owner, name)
    return found


async def find_readme(database: Database, account_id: str, owner: str, name: str) -> str | None:
    found: str | None = await database.value(_README, account_id, owner, name)
    return found


async def create(database: Database, account_id: str, body: CreateModel) -> bool:
    """Return False when the name is taken or the account has MODELS_LIMIT models."""
    made = await database.value(
        _CREATE,
        new_id(),
        account_id,
        body.owner,
        body.name,
        body.visibility,
        body.hardware,
        body.description,
        body.github_url or None,
        body.paper_url or None,
        body.license_url or None,
        body.cover_image_url or None,
        MODELS_LIMIT,
    )
    return made is not None


async def update(database: Database, model_id: str, changes: Mapping[str, str | None]) -> None:
    """`changes`: values by column, each in UPDATABLE."""
    assert changes.keys() <= UPDATABLE
    assignments = ", ".join(f"{column} = ${number}" for number, column in enumerate(changes, 2))
    async with database.transaction() as connection:
        if changes:
            await connection.execute(
                f"UPDATE model SET {assignments} WHERE id = $1",
                model_id,
                *changes.values(),
            )
        await connection.execute(f"UPDATE model SET {_PUBLISHED} WHERE id = $1", model_id)


async def delete(database: Database, model_id: str) -> str | None:
    """Delete a private model without versions. Return None, or the reason why it cannot be deleted."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(
            f"""SELECT visibility, {_BUSY} AS busy, EXISTS (SELECT FROM version WHERE model_id = $1) AS versions
            FROM model WHERE id = $1 FOR UPDATE""",
            model_id,
        )
        if row is None:
            return None
        if row["visibility"] == "public":
            return "Only private models can be deleted: make it private first."
        if row["versions"]:
            return "Only models without versions can be deleted: delete its versions first."
        if row["busy"]:
            return "A version of this model is being pushed right now."
        for table in ("push", "example"):
            await connection.execute(f"DELETE FROM {table} WHERE model_id = $1", model_id)
        await connection.execute("DELETE FROM model WHERE id = $1", model_id)
    return None
