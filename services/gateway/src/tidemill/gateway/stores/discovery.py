"""The SQL of search and of collections. Uses no PostgreSQL extension."""

import re
from collections.abc import Sequence
from typing import Final

from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.gateway.stores.models import FROM, MODEL, VISIBLE
from tidemill.runtime.db import Database, Row

WORDS_LIMIT: Final = 12  # of a search; each is a look-up of its own
_WORD: Final = re.compile(r"[^\W_]+")

# Words as they are match names, their stems match prose. Each word matches as a prefix.
_QUERY: Final = "(to_tsquery('simple', $1) || to_tsquery('english', $1))"
# Whole numbers rank the kinds of match; ts_rank (below 1 with flag 32) ranks within one kind.
_SCORE: Final = f"""round((
    CASE WHEN m.owner || '/' || m.name = $2 THEN 4 WHEN m.name = $2 THEN 3 WHEN starts_with(m.name, $2) THEN 2
        WHEN strpos(m.name, $2) > 0 THEN 1 ELSE 0 END
    + ts_rank(m.search, {_QUERY}, 32))::numeric, 6)"""
_KEY: Final = """(to_char(score * 1000000, 'FM000000000') || model_id) COLLATE "C" """
# A name that contains the text as typed matches too. No index serves this: the names are read, which takes some tens of
# milliseconds for a hundred thousand models. Words have an index. Matches are ranked before they are joined.
_FOUND: Final = f"""
WITH hit AS (
    SELECT id FROM model WHERE visibility = 'public' AND search @@ {_QUERY}
    UNION SELECT id FROM model WHERE visibility = 'public' AND strpos(name, $2) > 0
), ranked AS MATERIALIZED (
    SELECT m.id AS model_id, {_SCORE} AS score FROM hit JOIN model m ON m.id = hit.id
    WHERE m.latest_queue IS NOT NULL AND EXISTS (SELECT FROM example e WHERE e.model_id = m.id)
), page AS MATERIALIZED (
    SELECT model_id, score, {_KEY} AS id FROM ranked WHERE {_KEY} {{operator}} $3 ORDER BY {_KEY} {{order}} LIMIT $4)
{MODEL}, page.score, page.id {FROM} JOIN page ON page.model_id = m.id ORDER BY page.id {{order}}"""

_COLLECTIONS_FOUND: Final = f"""
SELECT c.slug, c.name, c.description, ARRAY(
    SELECT m.owner || '/' || m.name FROM collection_model i JOIN model m ON m.id = i.model_id
    WHERE i.slug = c.slug AND {VISIBLE} ORDER BY i.position) AS models
FROM collection c, (SELECT to_tsquery('simple', $2) || to_tsquery('english', $2) AS q) w,
    LATERAL (SELECT to_tsvector('simple', c.slug || ' ' || c.name)
        || to_tsvector('english', c.name || ' ' || c.description) AS words) t
WHERE t.words @@ w.q ORDER BY ts_rank(t.words, w.q) DESC, c.slug LIMIT $3"""
_COLLECTIONS: Final = "SELECT slug AS id, slug, name, description FROM collection"
_COLLECTION: Final = "SELECT slug, name, description, full_description FROM collection WHERE slug = $1"
_MEMBERS: Final = f"""
{MODEL} {FROM} JOIN collection_model i ON i.model_id = m.id WHERE i.slug = $2 AND {VISIBLE} ORDER BY i.position"""


def tsquery(text: str) -> str:
    """Return a tsquery of all words of the text, each as a prefix. Empty if there are none."""
    return " & ".join(f"{word}:*" for word in _WORD.findall(text)[:WORDS_LIMIT])


async def search_models(database: Database, text: str, cursor: Cursor | None, limit: int) -> list[Row]:
    """Return listed models that contain all words in their name, owner, description or README, the best match first."""
    operator, order, position = comparison(cursor)
    sql = _FOUND.format(operator=operator, order=order)
    return await database.fetch(sql, tsquery(text), text.strip().lower(), position, limit)


async def search_collections(database: Database, account_id: str, text: str, limit: int) -> list[Row]:
    return await database.fetch(_COLLECTIONS_FOUND, account_id, tsquery(text), limit)


async def collections_page(database: Database, cursor: Cursor | None, limit: int) -> list[Row]:
    """Sorted by slug, from a to z."""
    backwards = cursor is not None and cursor.direction == "previous"
    operator, order = ("<", "DESC") if backwards else (">", "ASC")
    sql = f"""{_COLLECTIONS} WHERE slug COLLATE "C" {operator} $1 ORDER BY slug COLLATE "C" {order} LIMIT $2"""
    return await database.fetch(sql, "" if cursor is None else cursor.position, limit)


async def find_collection(database: Database, slug: str) -> Row | None:
    return await database.row(_COLLECTION, slug)


async def models_of_collection(database: Database, account_id: str, slug: str) -> Sequence[Row]:
    """Return the collection's models that the account may see, in the collection's order."""
    return await database.fetch(_MEMBERS, account_id, slug)
