"""Accepts predictions at most once for a key, however often and to however many gateways they are sent.

A claim is written in the statement that accepts its predictions, so of twins at two gateways only one can win. Requests
without a key never come here.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from tidemill.contracts.errors import unprocessable
from tidemill.contracts.ids import id_at, new_id
from tidemill.gateway.accepted import Accepted
from tidemill.gateway.predictions.accept import ARRAYS, COLUMNS, VALUES, WIDTH, Acceptor
from tidemill.runtime.batch import Batcher
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database, Lane, columns, insistently

RETRY_WINDOW_S: Final = 120  # that client gives up reading after 60 s, then waits for at most 8 s
RETRY_SCAN_LIMIT: Final = 5_000  # rows that one retry reads at most: a limited account makes fewer in the window
RETRY_SCANS_AT_ONCE: Final = 2  # a crowd of retries means that something is slow already

# Claims come in the order of their keys, or two gateways could wait for one another.
ACCEPT: Final = f"""
WITH claim AS (
    INSERT INTO idempotency (account_id, key, id, digest, predictions, problems, expires_at)
    SELECT account_id, key, id, digest, string_to_array(predictions, ',', ''), problems::json,
        now() + make_interval(secs => lifetime_s)
    FROM unnest($19::text[], $20::text[], $21::text[], $22::bytea[], $23::text[], $24::text[], $25::float8[])
        AS k (account_id, key, id, digest, predictions, problems, lifetime_s)
    ON CONFLICT DO NOTHING RETURNING id
), accepted AS (
    INSERT INTO prediction ({COLUMNS})
    SELECT {VALUES} FROM unnest({ARRAYS}, $18::text[]) AS r ({COLUMNS}, claim)
    WHERE claim IN (SELECT id FROM claim)
    ON CONFLICT (id) DO NOTHING)
SELECT id FROM claim"""  # noqa: S608 - our own constants
FIND: Final = """
SELECT id, digest, predictions, problems, expires_at <= now() AS expired FROM idempotency
WHERE account_id = $1 AND key = $2"""
EXPIRE: Final = "DELETE FROM idempotency WHERE account_id = $1 AND key = $2 AND expires_at <= now()"
# Newest first, and each prediction once for every count of retries: of identical requests side by side, every one
# joins a prediction of its own. `found` without `joined`: another retry was quicker to join that one.
JOIN: Final = """
WITH recent AS (
    SELECT * FROM prediction WHERE account_id = $1 AND id > $2 ORDER BY id DESC LIMIT $3
), earlier AS (
    SELECT p.id FROM recent p
    WHERE p.queue = $4 AND p.input::text = $5 AND p.webhook IS NOT DISTINCT FROM $6 AND p.kind = $7
        AND p.destination IS NOT DISTINCT FROM $8 AND NOT p.data_removed
        AND NOT EXISTS (SELECT FROM idempotency i WHERE i.account_id = $1 AND i.key = $9 || p.id)
    ORDER BY p.id DESC LIMIT 1
), joined AS (
    INSERT INTO idempotency (account_id, key, id, digest, predictions, expires_at)
    SELECT $1, $9 || id, $10, '', ARRAY[id], now() + make_interval(secs => $11) FROM earlier
    ON CONFLICT DO NOTHING RETURNING predictions[1] AS id)
SELECT (SELECT id FROM earlier) AS found, (SELECT id FROM joined) AS joined"""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one request wants to make. `predictions` are in its order, None for what was refused by `problems`."""

    account_id: str
    key: str
    id: str
    digest: bytes
    lifetime_s: float
    predictions: Sequence[Accepted | None]
    problems: bytes | None = None


class Earlier(msgspec.Struct, frozen=True):
    """What the first request with the key has made: ids, and the problems of a batch as JSON."""

    predictions: list[str | None]
    problems: str | None


class Once:
    """Accepts predictions under keys; claims that wait at the same moment share one statement and one commit."""

    def __init__(self, database: Database, lane: Lane, acceptor: Acceptor, timeout_s: float) -> None:
        self._database = database
        self._lane = lane
        self._acceptor = acceptor
        self._timeout_s = timeout_s
        self._batcher: Batcher[Claim, bool] = Batcher(self._flush)
        self._scans = asyncio.Semaphore(RETRY_SCANS_AT_ONCE)

    async def accept(self, claim: Claim) -> Earlier | None:
        """None when this call has accepted the predictions. Raises the 422 problem for another request's key, and
        one of db.AWAY.
        """
        while not await self._batcher.add(claim):
            row = await self._database.row(FIND, claim.account_id, claim.key)
            if row is None:
                continue
            if row["id"] == claim.id:
                break  # a flush that was repeated, since its answer got lost
            if row["expired"]:
                await self._database.execute(EXPIRE, claim.account_id, claim.key)
                continue
            if row["digest"] != claim.digest:
                raise unprocessable("This Idempotency-Key was used for another request within the last 24 hours.")
            return Earlier(list(row["predictions"]), row["problems"])
        return None

    async def join(self, accepted: Accepted, prefix: str) -> str | None:
        """The id of the prediction that a request just like this one has made, and that nobody has joined yet."""
        since = id_at(int((now() - RETRY_WINDOW_S) * 1000), 0)
        arguments = (
            accepted.account_id,
            since,
            RETRY_SCAN_LIMIT,
            accepted.queue,
            accepted.input.decode(),
            accepted.webhook,
            accepted.kind,
            accepted.destination,
            prefix,
            new_id(),
            RETRY_WINDOW_S,
        )
        async with self._scans:
            while True:
                row = await self._database.row(JOIN, *arguments)
                assert row is not None, "a SELECT without FROM answers one row"
                if row["joined"] is not None or row["found"] is None:
                    joined: str | None = row["joined"]
                    return joined

    async def drained(self) -> None:
        await self._batcher.drained()

    async def _flush(self, batch: Sequence[Claim]) -> Sequence[bool]:
        claims = sorted(batch, key=lambda claim: (claim.account_id, claim.key))
        rows = [(*self._acceptor.row(p), claim.id) for claim in claims for p in claim.predictions if p is not None]
        keys = [_row(claim) for claim in claims]
        arguments = (*columns(rows, WIDTH + 1), *columns(keys, 7))
        fetched = await insistently(
            "accept once", lambda: self._lane.fetch(ACCEPT, *arguments), give_up_s=self._timeout_s
        )
        won = {row["id"] for row in fetched}
        for claim in claims:
            if claim.id in won:
                await self._acceptor.publish([p for p in claim.predictions if p is not None])
        return [claim.id in won for claim in batch]


def _row(claim: Claim) -> tuple[object, ...]:
    return (
        claim.account_id,
        claim.key,
        claim.id,
        claim.digest,
        ",".join("" if p is None else p.id for p in claim.predictions),
        None if claim.problems is None else claim.problems.decode(),
        claim.lifetime_s,
    )
