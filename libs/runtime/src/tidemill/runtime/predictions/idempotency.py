"""Idempotent acceptance: predictions are accepted at most once for a key, at however many gateways.

A claim to the key is written in the statement that accepts its predictions, so only one of two equal requests can win.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from tidemill.contracts.ids import id_at, new_id
from tidemill.contracts.subjects import Kind
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database, DedicatedConnection, Row
from tidemill.runtime.parameters import Column, Scalars, Unnest
from tidemill.runtime.predictions.acceptance import NewPrediction

SCAN_LIMIT: Final = 5_000  # rows that one retry reads at most: a limited account makes fewer in the window


def _ids(predictions: Sequence[NewPrediction | None]) -> str:
    return ",".join("" if each is None else each.id for each in predictions)


class KeyClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What one request makes under its key; each field is a column of `idempotency`."""

    account_id: str
    key: str
    id: str
    digest: bytes
    # In the order of the request; None for an item that was refused for one of `problems`.
    predictions: Annotated[Sequence[NewPrediction | None], Column(value="string_to_array({}, ',', '')", convert=_ids)]
    problems: Annotated[bytes | None, Column(value="{}::json", convert=bytes.decode)] = None
    lifetime_s: Annotated[float, Column("float8", "now() + make_interval(secs => {})", name="expires_at")]


PREDICTIONS: Final = Unnest(NewPrediction, "r", claim="text")
CLAIMS: Final = Unnest(KeyClaim, "k", first=PREDICTIONS.after)
INSERT: Final = f"""
WITH claim AS (
    INSERT INTO idempotency ({CLAIMS.columns}) SELECT {CLAIMS.values} FROM {CLAIMS.rows}
    ON CONFLICT DO NOTHING RETURNING id
), accepted AS (
    INSERT INTO prediction ({PREDICTIONS.columns}, gateway)
    SELECT {PREDICTIONS.values}, ${CLAIMS.after}::text FROM {PREDICTIONS.rows}
    WHERE claim IN (SELECT id FROM claim)
    ON CONFLICT (id) DO NOTHING)
SELECT id FROM claim"""
FIND: Final = """
SELECT id, digest, predictions, problems, expires_at <= now() AS expired FROM idempotency
WHERE account_id = $1 AND key = $2"""
EXPIRE: Final = "DELETE FROM idempotency WHERE account_id = $1 AND key = $2 AND expires_at <= now()"


class _Replay(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of JOIN: what the request made, and the claim that it writes if it finds an equal one."""

    account_id: str
    since: str  # an id; only later ones are looked at
    scan_limit: int
    queue: str
    input: Annotated[bytes, Column(convert=bytes.decode)]
    webhook: str | None
    kind: Kind
    destination: str | None
    prefix: str
    claim: str
    lifetime_s: float


_REPLAY: Final = Scalars(_Replay)
# Newest first, and each prediction once for every count of retries: of equal requests side by side, every one joins a
# prediction of its own. `found` without `joined`: another retry was quicker to join that one.
JOIN: Final = f"""
WITH recent AS (
    SELECT * FROM prediction WHERE account_id = {_REPLAY["account_id"]} AND id > {_REPLAY["since"]}
    ORDER BY id DESC LIMIT {_REPLAY["scan_limit"]}
), earlier AS (
    SELECT p.id FROM recent p
    WHERE p.queue = {_REPLAY["queue"]} AND p.input::text = {_REPLAY["input"]}
        AND p.webhook IS NOT DISTINCT FROM {_REPLAY["webhook"]} AND p.kind = {_REPLAY["kind"]}
        AND p.destination IS NOT DISTINCT FROM {_REPLAY["destination"]} AND NOT p.data_removed
        AND NOT EXISTS (SELECT FROM idempotency i
            WHERE i.account_id = {_REPLAY["account_id"]} AND i.key = {_REPLAY["prefix"]} || p.id)
    ORDER BY p.id DESC LIMIT 1
), joined AS (
    INSERT INTO idempotency (account_id, key, id, digest, predictions, expires_at)
    SELECT {_REPLAY["account_id"]}, {_REPLAY["prefix"]} || id, {_REPLAY["claim"]}, '', ARRAY[id],
        now() + make_interval(secs => {_REPLAY["lifetime_s"]}) FROM earlier
    ON CONFLICT DO NOTHING RETURNING predictions[1] AS id)
SELECT (SELECT id FROM earlier) AS found, (SELECT id FROM joined) AS joined"""


async def accept(connection: DedicatedConnection, gateway: str, claims: Sequence[KeyClaim]) -> set[str]:
    """Insert each claim whose key is free, with its predictions. Return the ids of these claims.

    Callers: the gateway's IdempotentAcceptor.
    Fence: the primary key of `idempotency`. A claim that is not returned may be one of an earlier try of this call.
    Cost: a row of `idempotency` for each claim; a row of `prediction` and its index entries for each prediction.
    """
    # In the order of their keys, or two gateways could wait for each other.
    ordered = sorted(claims, key=lambda claim: (claim.account_id, claim.key))
    owned = [(each, claim.id) for claim in ordered for each in claim.predictions if each is not None]
    predictions, owners = [each for each, _ in owned], [claim for _, claim in owned]
    arguments = (*PREDICTIONS.arrays(predictions, owners), *CLAIMS.arrays(ordered))
    return {row["id"] for row in await connection.fetch(INSERT, *arguments, gateway)}


async def find(database: Database, claim: KeyClaim) -> Row | None:
    """Return the row that holds the claim's key. `expired`: it may be replaced."""
    return await database.row(FIND, claim.account_id, claim.key)


async def expire(database: Database, claim: KeyClaim) -> None:
    """Free the claim's key if the time of its row has passed.

    Callers: the gateway, if a request names the key; the janitor deletes the others.
    Fence: the time of the row. Cost: one probe of the primary key.
    """
    await database.execute(EXPIRE, claim.account_id, claim.key)


async def join(database: Database, prediction: NewPrediction, prefix: str, window_s: float) -> str | None:
    """Return the id of an equal prediction of the last `window_s` seconds that no retry with `prefix` has joined yet.

    Callers: the gateway, for a retry of an official client that sends no key.
    Fence: the primary key of `idempotency`; the claim is `prefix` and the id.
    Cost: SCAN_LIMIT rows of the account's newest at most, by the index on (account_id, id).
    """
    replay = _Replay(
        account_id=prediction.account_id,
        since=id_at(int((now() - window_s) * 1000), 0),
        scan_limit=SCAN_LIMIT,
        queue=prediction.queue,
        input=prediction.input,
        webhook=prediction.webhook,
        kind=prediction.kind,
        destination=prediction.destination,
        prefix=prefix,
        claim=new_id(),
        lifetime_s=window_s,
    )
    arguments = _REPLAY.values(replay)
    while True:
        row = await database.row(JOIN, *arguments)
        assert row is not None, "a SELECT without FROM returns one row"
        if row["joined"] is not None or row["found"] is None:
            joined: str | None = row["joined"]
            return joined
