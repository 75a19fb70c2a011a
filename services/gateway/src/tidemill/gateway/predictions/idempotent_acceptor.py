"""Accepts predictions at most once per key, over all gateways. Requests without a key do not use it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from tidemill.contracts.errors import unprocessable
from tidemill.gateway.accepted import Accepted
from tidemill.gateway.predictions.accept import Acceptor
from tidemill.runtime.batch import Batcher
from tidemill.runtime.db import Database, DedicatedConnection, retry_transient
from tidemill.runtime.predictions import idempotency
from tidemill.runtime.predictions.idempotency import KeyClaim

RETRY_WINDOW_S: Final = 120  # that client times out after 60 s, then waits at most 8 s
RETRY_SCANS_AT_ONCE: Final = 2  # many retries at once mean that the system is slow already


class IdempotencyClaim(KeyClaim, frozen=True, kw_only=True):
    """The predictions of one request in its order, with None for those refused by `problems`."""

    predictions: Sequence[Accepted | None]


class FirstResult(msgspec.Struct, frozen=True):
    """The result of the first request with the key: ids, and the problems of a batch as JSON."""

    predictions: list[str | None]
    problems: str | None


class IdempotentAcceptor:
    """Accepts predictions under keys; concurrent claims share one statement and one commit."""

    def __init__(
        self, database: Database, connection: DedicatedConnection, acceptor: Acceptor, timeout_s: float
    ) -> None:
        self._database = database
        self._connection = connection
        self._acceptor = acceptor
        self._timeout_s = timeout_s
        self._batcher: Batcher[IdempotencyClaim, bool] = Batcher(self._flush)
        self._scans = asyncio.Semaphore(RETRY_SCANS_AT_ONCE)

    async def accept(self, claim: IdempotencyClaim) -> FirstResult | None:
        """Return None if this call has accepted the predictions, else the result of the first request.

        Raise the 422 problem if the key is another request's, and one of db.TRANSIENT_ERRORS.
        """
        while not await self._batcher.add(claim):
            row = await idempotency.find(self._database, claim)
            if row is None:
                continue
            if row["id"] == claim.id:
                break  # a repeated flush: the reply to the first was lost
            if row["expired"]:
                await idempotency.expire(self._database, claim)
                continue
            if row["digest"] != claim.digest:
                raise unprocessable("This Idempotency-Key was used for another request within the last 24 hours.")
            return FirstResult(list(row["predictions"]), row["problems"])
        return None

    async def join(self, accepted: Accepted, prefix: str) -> str | None:
        """Return the id of a prediction of an equal request that no retry has joined yet, or None."""
        async with self._scans:
            return await idempotency.join(self._database, accepted, prefix, RETRY_WINDOW_S)

    async def drained(self) -> None:
        await self._batcher.drained()

    async def _flush(self, batch: Sequence[IdempotencyClaim]) -> Sequence[bool]:
        won = await retry_transient(
            "accept once",
            lambda: idempotency.accept(self._connection, self._acceptor.gateway, batch),
            give_up_s=self._timeout_s,
        )
        for claim in batch:
            if claim.id in won:
                await self._acceptor.publish([each for each in claim.predictions if each is not None])
        return [claim.id in won for claim in batch]
