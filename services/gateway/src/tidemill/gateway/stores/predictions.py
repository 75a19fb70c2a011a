"""The SQL that reads predictions for the API. `runtime.predictions` has all statements that write them.

Deleted predictions are never returned: their rows stay for billing only.
"""

from collections.abc import Sequence
from typing import Any, Final

from tidemill.contracts.ids import id_at
from tidemill.contracts.prediction import SQL_OPEN, Status
from tidemill.contracts.subjects import Kind
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row
from tidemill.runtime.streams.urls import JOINS, STREAMS

SCAN_LIMIT: Final = 20_000  # rows that one page of a filtered list reads at most; the next page continues after them
CLOCK_SLACK_MS: Final = 60_000  # an id is made in the same millisecond as its created_at or a little later
IDS_END_MS: Final = (1 << 48) - 1  # the largest time that an id can hold

_COLUMNS: Final = f"""p.*, {STREAMS}, a.retention_s,
    EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id) AS is_example"""
_JOINS: Final = f"LEFT JOIN account a ON a.id = p.account_id {JOINS}"
_ONE: Final = f"""
SELECT {_COLUMNS} FROM prediction p {_JOINS}
WHERE p.id = $1 AND ($2::text IS NULL OR p.kind = $2) AND p.deleted_at IS NULL"""
_SEVERAL: Final = f"""
SELECT {_COLUMNS} FROM prediction p {_JOINS}
WHERE p.id = ANY ($1) AND p.account_id = $2 AND p.deleted_at IS NULL"""
# Anybody may see what its owner shares. Who sees a model sees its examples.
_VISIBLE: Final = """(p.account_id = $3 OR p.shared_at IS NOT NULL OR EXISTS (
    SELECT FROM example e JOIN model m ON m.id = e.model_id
    WHERE e.prediction_id = p.id AND (m.visibility = 'public' OR m.account_id = $3)))"""
_FOR_STREAM: Final = """
SELECT id, status, attempt, output, logs, error, created_at, data_removed FROM prediction WHERE id = $1"""
_ENDED: Final = f"SELECT id FROM prediction WHERE id = ANY($1) AND status NOT IN {SQL_OPEN}"
_UNCLAIMED: Final = f"""
SELECT id FROM prediction WHERE id = ANY ($1) AND status = '{Status.STARTING}' AND worker IS NULL"""


async def find(database: Database, prediction_id: str, account_id: str, kind: Kind | None = "prediction") -> Row | None:
    """Return the account's prediction, or None. `kind` None: of any kind."""
    return await database.row(f"{_ONE} AND p.account_id = $3", prediction_id, kind, account_id)


async def find_many(database: Database, prediction_ids: Sequence[str], account_id: str) -> list[Row]:
    """Return those of them that belong to the account, in any order."""
    return await database.fetch(_SEVERAL, list(prediction_ids), account_id)


async def find_visible(database: Database, prediction_id: str, account_id: str) -> Row | None:
    """Return a prediction that the account may see, its own or not. An empty account id: an anonymous caller."""
    return await database.row(f"{_ONE} AND {_VISIBLE}", prediction_id, "prediction", account_id)


async def find_for_stream(database: Database, prediction_id: str) -> Row | None:
    """Return what a stream needs of a prediction, of any account."""
    return await database.row(_FOR_STREAM, prediction_id)


async def list_ended(database: Database, prediction_ids: Sequence[str]) -> set[str]:
    """Return those of the predictions that have ended."""
    return {row["id"] for row in await database.fetch(_ENDED, list(prediction_ids))}


async def list_unclaimed(database: Database, prediction_ids: Sequence[str]) -> set[str]:
    """Return those of the predictions that no worker has claimed."""
    return {row["id"] for row in await database.fetch(_UNCLAIMED, list(prediction_ids))}


class PredictionScan:
    """Reads one page of an account's list: at most SCAN_LIMIT rows, in the order of their ids.

    The ids come from an index on the account or the deployment, and each row is looked up by its id. So the query never
    reads rows of other accounts, whatever plan PostgreSQL chooses.
    """

    def __init__(self, database: Database, account_id: str, query: queries.PredictionsQuery) -> None:
        self._database = database
        self._account_id = account_id
        self._query = query
        # The id at which the scan stopped, if the page is not full and the list has more rows.
        self.stopped_at: str | None = None

    async def fetch(self, cursor: Cursor | None, limit: int) -> list[Row]:
        operator, order, position = comparison(cursor)
        where = _Conditions()
        where.add(f"p.id {operator}", position)
        self._add_bounds(where)
        read = f"FROM prediction p WHERE {where} ORDER BY p.id {order}"
        bounds = list(where.arguments)
        found = _Conditions(where.arguments)
        self._add_filters(found)
        rows = await self._database.fetch(
            f"""SELECT {_COLUMNS} FROM (
                SELECT p.* FROM (SELECT p.id {read} LIMIT {SCAN_LIMIT}) i
                    CROSS JOIN LATERAL (SELECT p.* FROM prediction p WHERE p.id = i.id OFFSET 0) p
                WHERE {found} AND p.kind = 'prediction' AND p.deleted_at IS NULL
                ORDER BY i.id {order} LIMIT {limit}) p {_JOINS}
            ORDER BY p.id {order}""",
            *found.arguments,
        )
        if len(rows) < limit:
            self.stopped_at = await self._database.value(f"SELECT p.id {read} OFFSET {SCAN_LIMIT - 1} LIMIT 1", *bounds)
        return rows

    def _add_bounds(self, where: "_Conditions") -> None:
        """Add the conditions that indexes serve. Ids contain the time of creation, so times bound the ids to read."""
        query = self._query
        # All predictions of a deployment belong to its owner.
        where.add("p.account_id =", self._account_id if query.deployment is None else None)
        where.add("p.deployment =", query.deployment)
        if query.created_after is not None:
            where.add("p.id >=", _id_at(query.created_after.timestamp() * 1000 - CLOCK_SLACK_MS))
        if query.created_before is not None:
            where.add("p.id <", _id_at(query.created_before.timestamp() * 1000 + CLOCK_SLACK_MS))

    def _add_filters(self, where: "_Conditions") -> None:
        query = self._query
        where.add("p.account_id =", self._account_id)
        where.add("p.created_at >=", query.created_after)
        where.add("p.created_at <", query.created_before)
        where.add("p.source =", query.source)
        where.add("p.model =", query.model)
        where.add("p.version =", query.version)
        where.add("p.status =", None if query.status is None else query.status.split(","), "ANY ({}::text[])")


class _Conditions:
    """SQL conditions and their arguments. `taken`: the arguments of the statement so far."""

    def __init__(self, taken: Sequence[Any] = ()) -> None:
        self.arguments = list(taken)
        self._conditions = ["true"]

    def add(self, comparison_: str, value: Any, form: str = "{}") -> None:
        """Add a condition, unless `value` is None."""
        if value is not None:
            self.arguments.append(value)
            self._conditions.append(f"{comparison_} {form.format(f'${len(self.arguments)}')}")

    def __str__(self) -> str:
        return " AND ".join(self._conditions)


def _id_at(ms: float) -> str:
    return id_at(min(max(0, int(ms)), IDS_END_MS), 0)
