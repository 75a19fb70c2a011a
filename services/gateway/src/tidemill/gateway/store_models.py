"""The SQL of models and versions. A model of somebody else's is visible when it is public."""

from typing import Final

from tidemill.contracts.api import CreateModel
from tidemill.contracts.ids import new_id
from tidemill.gateway import queries
from tidemill.gateway.cursors import Cursor
from tidemill.gateway.pages import comparison
from tidemill.runtime.db import Database, Row

MODELS_LIMIT: Final = 1000  # per account, as on Replicate

_VERSION: Final = "v.id AS version_id, v.cog_version, v.openapi_schema, v.created_at AS version_created_at"
_MODEL: Final = f"""
SELECT m.id AS model_id, m.owner, m.name, m.visibility, m.description, m.github_url, m.paper_url, m.license_url,
    m.weights_url, m.cover_image_url, m.run_count, m.created_at, {_VERSION}"""
_JOIN: Final = "FROM model m LEFT JOIN version v ON v.queue = m.latest_queue"
_VISIBLE: Final = "(m.visibility = 'public' OR m.account_id = $1)"
_EXAMPLE: Final = """
SELECT e.model_id, p.*
FROM example e JOIN prediction p ON p.id = e.prediction_id WHERE e.model_id = ANY($1)"""
_CREATE: Final = """
INSERT INTO model (id, account_id, owner, name, visibility, hardware, description, github_url, paper_url, license_url,
    cover_image_url)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
WHERE (SELECT count(*) FROM model WHERE account_id = $2) < $12
ON CONFLICT (owner, name) DO NOTHING RETURNING id"""

# Moments are no unique order: the id behind the microseconds makes one, as text that a cursor can hold.
_MICROSECONDS: Final = "to_char(extract(epoch FROM {moment}) * 1000000, 'FM00000000000000000')"
_KEYS: Final = {
    "model_created_at": f'({_MICROSECONDS.format(moment="m.created_at")} || m.id) COLLATE "C"',
    "latest_version_created_at": f'({_MICROSECONDS.format(moment="v.created_at")} || m.id) COLLATE "C"',
}
_VERSION_KEY: Final = f'({_MICROSECONDS.format(moment="v.created_at")} || v.queue) COLLATE "C"'


def _comparison(cursor: Cursor | None, asked: queries.Models) -> tuple[str, str, str]:
    operator, order, position = comparison(cursor)
    if asked.sort_direction == "desc":
        return operator, order, position
    start = "" if cursor is None else position
    return (">", "ASC", start) if operator == "<" else ("<", "DESC", start)


async def models(database: Database, asked: queries.Models, cursor: Cursor | None, limit: int) -> list[Row]:
    """Public models that can be run."""
    operator, order, position = _comparison(cursor, asked)
    key = _KEYS[asked.sort_by]
    sql = f"""{_MODEL}, {key} AS id FROM model m JOIN version v ON v.queue = m.latest_queue
        WHERE m.visibility = 'public' AND {key} {operator} $1 ORDER BY {key} {order} LIMIT $2"""
    return await database.fetch(sql, position, limit)


async def model(database: Database, account_id: str, owner: str, name: str) -> Row | None:
    return await database.row(
        f"{_MODEL} {_JOIN} WHERE m.owner = $2 AND m.name = $3 AND {_VISIBLE}", account_id, owner, name
    )


async def own_model_id(database: Database, account_id: str, owner: str, name: str) -> str | None:
    sql = "SELECT id FROM model WHERE account_id = $1 AND owner = $2 AND name = $3"
    found: str | None = await database.value(sql, account_id, owner, name)
    return found


async def examples(database: Database, model_ids: list[str]) -> dict[str, Row]:
    """The default examples' predictions by model id."""
    return {row["model_id"]: row for row in await database.fetch(_EXAMPLE, model_ids)}


async def create(database: Database, account_id: str, body: CreateModel) -> bool:
    """False when the name is taken or the account has MODELS_LIMIT models."""
    made = await database.value(
        _CREATE,
        new_id(),
        account_id,
        body.owner,
        body.name,
        body.visibility,
        body.hardware,
        body.description,
        body.github_url,
        body.paper_url,
        body.license_url,
        body.cover_image_url,
        MODELS_LIMIT,
    )
    return made is not None


async def versions(database: Database, model_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    sql = f"""SELECT {_VERSION}, {_VERSION_KEY} AS id FROM version v
        WHERE v.model_id = $1 AND {_VERSION_KEY} {operator} $2 ORDER BY {_VERSION_KEY} {order} LIMIT $3"""  # noqa: S608 - our own constants
    return await database.fetch(sql, model_id, position, limit)


async def version(database: Database, model_id: str, version_id: str) -> Row | None:
    sql = f"SELECT {_VERSION} FROM version v WHERE v.model_id = $1 AND v.id = $2"  # noqa: S608 - our own constant
    return await database.row(sql, model_id, version_id)
