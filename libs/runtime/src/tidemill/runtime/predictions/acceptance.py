"""Acceptance: the INSERT of new predictions. Accepted means committed."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from tidemill.contracts.subjects import Kind
from tidemill.runtime.db import DedicatedConnection
from tidemill.runtime.parameters import Column, Moment, MomentOrNone, Unnest


class NewPrediction(msgspec.Struct, kw_only=True, frozen=True):
    """A prediction as it is accepted. Each field is a column; times are unix seconds; `input` is JSON as it came."""

    id: str
    account_id: str
    model: str
    version: str
    queue: str
    source: str
    input: Annotated[bytes, Column(value="{}::json", convert=bytes.decode)]
    webhook: str | None
    # One string, as unnest() would flatten an array of arrays.
    webhook_events: Annotated[list[str] | None, Column(value="string_to_array({}, ',')", convert=",".join)]
    deadline: MomentOrNone
    created_at: Moment
    kind: Kind = "prediction"
    deployment: str | None = None  # owner/name
    destination: str | None = None  # owner/name, of a training
    priority: Annotated[int, Column("smallint")] = 0
    public_url: str | None = None  # by which the request came, if nobody could guess it who does not know the request


PREDICTIONS: Final = Unnest(NewPrediction, "r")
INSERT: Final = f"""
INSERT INTO prediction ({PREDICTIONS.columns}, gateway)
SELECT {PREDICTIONS.values}, ${PREDICTIONS.after}::text FROM {PREDICTIONS.rows}
ON CONFLICT (id) DO NOTHING"""


async def accept(connection: DedicatedConnection, gateway: str, predictions: Sequence[NewPrediction]) -> None:
    """Insert predictions that the gateway named `gateway` accepts: all of them or none.

    Callers: the gateway's Acceptor, for creates without an idempotency key.
    Fence: the id. The statement may be repeated as it is if its answer was lost.
    Cost: a row and its index entries for each prediction; no table is read.
    """
    await connection.fetch(INSERT, *PREDICTIONS.arrays(predictions), gateway)
