"""The SQL of predictions: what the gateway shows of them. The hot statement that makes them is in `accept`.

What was deleted is nowhere to be seen: its row stays for the bills alone.
"""

from collections.abc import Sequence
from typing import Any, Final

from tidemill.contracts.ids import id_at
from tidemill.contracts.subjects import Kind
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row
from tidemill.runtime.streams.urls import JOINS, STREAMS

SCAN_LIMIT: Final = 20_000  # rows that one page of a filtered list reads at most; the next page goes on behind them
CLOCK_SLACK_MS: Final = 60_000  # an id is made in the same millisecond as its created_at, or in one of the next
IDS_END_MS: Final = (1 << 48) - 1  # no id is made later than this

_COLUMNS: Final = f"""p.*, {STREAMS}, a.retention_s,
    EXISTS (SELECT FROM example e WHERE e.prediction_id = p.id) AS is_example"""
_JOINS: Final = f"LEFT JOIN account a ON a.id = p.account_id {JOINS}"
_ONE: Final = f"""
SELECT {_COLUMNS} FROM prediction p {_JOINS}
WHERE p.id = $1 AND ($2::text IS NULL OR p.kind = $2) AND p.deleted_at IS NULL"""  # noqa: S608 - our own constants
_SEVERAL: Final = f"""
SELECT {_COLUMNS} FROM prediction p {_JOINS}
WHERE p.id = ANY ($1) AND p.account_id = $2 AND p.deleted_at IS NULL"""  # noqa: S608 - our own constants
# What its owner shares anybody may see, and what is an example of a model whoever sees the model.
_VISIBLE: Final = """(p.account_id = $3 OR p.shared_at IS NOT NULL OR EXISTS (
    SELECT FROM example e JOIN model m ON m.id = e.model_id
    WHERE e.prediction_id = p.id AND (m.visibility = 'public' OR m.account_id = $3)))"""
_INPUTS: Final = """
SELECT v.openapi_schema #> '{components,schemas,Input,properties}'
FROM version v JOIN model m ON m.id = v.model_id WHERE m.owner = $1 AND m.name = $2 AND v.id = $3"""


async def find(database: Database, prediction_id: str, account_id: str, kind: Kind | None = "prediction") -> Row | None:
    """One of the account's own; `kind` None: whichever it is."""
    return await database.row(f"{_ONE} AND p.account_id = $3", prediction_id, kind, account_id)


async def find_many(database: Database, prediction_ids: Sequence[str], account_id: str) -> list[Row]:
    """Those of them that are the account's own, in any order."""
    return await database.fetch(_SEVERAL, list(prediction_ids), account_id)


async def find_visible(database: Database, prediction_id: str, account_id: str) -> Row | None:
    """One that the account may see, its own or not. An empty account id is anybody's."""
    return await database.row(f"{_ONE} AND {_VISIBLE}", prediction_id, "prediction", account_id)


async def input_properties(database: Database, model: str, version: str) -> str | None:
    """The JSON of what the version's schema says of each input; None for a version that is gone."""
    owner, _, name = model.partition("/")
    found: str | None = await database.value(_INPUTS, owner, name, version)
    return found


class PredictionScan:
    """One page of an account's list: reads at most SCAN_LIMIT rows, in the order of their ids.

    Ids come from an index that knows the account or the deployment, and each row by its own: whatever the planner takes
    for likely, it never reads other accounts' rows.
    """

    def __init__(self, database: Database, account_id: str, asked: queries.PredictionsQuery) -> None:
        self._database = database
        self._account_id = account_id
        self._asked = asked
        self.stopped_at: str | None = (
            None  # where the reading ended, with the page not full and the list not at its end
        )

    async def fetch(self, cursor: Cursor | None, limit: int) -> list[Row]:
        operator, order, position = comparison(cursor)
        where = _Conditions()
        where.add(f"p.id {operator}", position)
        self._bound(where)
        read = f"FROM prediction p WHERE {where} ORDER BY p.id {order}"
        bounds = list(where.arguments)
        found = _Conditions(where.arguments)
        self._filter(found)
        rows = await self._database.fetch(
            f"""SELECT {_COLUMNS} FROM (
                SELECT p.* FROM (SELECT p.id {read} LIMIT {SCAN_LIMIT}) i
                    CROSS JOIN LATERAL (SELECT p.* FROM prediction p WHERE p.id = i.id OFFSET 0) p
                WHERE {found} AND p.kind = 'prediction' AND p.deleted_at IS NULL
                ORDER BY i.id {order} LIMIT {limit}) p {_JOINS}
            ORDER BY p.id {order}""",  # noqa: S608 - our own text; what clients sent are arguments
            *found.arguments,
        )
        if len(rows) < limit:
            self.stopped_at = await self._database.value(f"SELECT p.id {read} OFFSET {SCAN_LIMIT - 1} LIMIT 1", *bounds)
        return rows

    def _bound(self, where: "_Conditions") -> None:
        """What indexes know. Ids are made when predictions are, so moments bound what has to be read."""
        asked = self._asked
        # All predictions of a deployment are its owner's.
        where.add("p.account_id =", self._account_id if asked.deployment is None else None)
        where.add("p.deployment =", asked.deployment)
        if asked.created_after is not None:
            where.add("p.id >=", _id_at(asked.created_after.timestamp() * 1000 - CLOCK_SLACK_MS))
        if asked.created_before is not None:
            where.add("p.id <", _id_at(asked.created_before.timestamp() * 1000 + CLOCK_SLACK_MS))

    def _filter(self, where: "_Conditions") -> None:
        asked = self._asked
        where.add("p.account_id =", self._account_id)
        where.add("p.created_at >=", asked.created_after)
        where.add("p.created_at <", asked.created_before)
        where.add("p.source =", asked.source)
        where.add("p.model =", asked.model)
        where.add("p.version =", asked.version)
        where.add("p.status =", None if asked.status is None else asked.status.split(","), "ANY ({}::text[])")


class _Conditions:
    """Conditions with their arguments; `taken` are those of the statement so far."""

    def __init__(self, taken: Sequence[Any] = ()) -> None:
        self.arguments = list(taken)
        self._conditions = ["true"]

    def add(self, comparison_: str, value: Any, form: str = "{}") -> None:
        """None is no condition."""
        if value is not None:
            self.arguments.append(value)
            self._conditions.append(f"{comparison_} {form.format(f'${len(self.arguments)}')}")

    def __str__(self) -> str:
        return " AND ".join(self._conditions)


def _id_at(ms: float) -> str:
    return id_at(min(max(0, int(ms)), IDS_END_MS), 0)
