"""Rate limits at the edge: takes from the ledger at once, and settles with the record behind the requests' backs.

A request waits for the record only when its account has used up what this gateway may admit of its own accord. When
the record does not answer, requests are not refused for that: the ledger alone decides, and that is counted.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from aiohttp import web
from prometheus_client import Counter

from tidemill.contracts.errors import throttled
from tidemill.gateway.limits.allowances import LimitedAccount, RateKind
from tidemill.gateway.limits.gcra import Rate, Verdict
from tidemill.gateway.limits.ledger import Debt, Ledger, RateKey
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, DedicatedConnection
from tidemill.runtime.tasks import set_within
from tidemill.runtime.telemetry import log

SETTLE_EVERY_S: Final = 0.05  # so long a lone request's debt waits for others; twenty statements a second at most
PATIENCE_S: Final = 0.5  # of a request that must ask the record; a healthy one answers in milliseconds
RETRY_S: Final = 0.5  # when the record was away
BATCH_LIMIT: Final = 500  # accounts in one statement
# Where a request keeps what the headers of its answer say.
VERDICT: Final = web.RequestKey("verdict", Verdict)


class CertainRefusal(NamedTuple):
    """For so long everything that takes of this limit is refused."""

    seconds: float
    kind: RateKind


REFUSED_FOR: Final = web.RequestKey("refused_for", CertainRefusal)

REFUSED: Final = Counter("tidemill_refused_total", "Requests refused by a limit", ["limit"])
UNCHECKED: Final = Counter(
    "tidemill_limits_unchecked_total", "Requests admitted without knowing what others had taken", ["limit"]
)


Settle = Callable[[DedicatedConnection, Sequence[Debt]], Awaitable[dict[RateKey, float]]]  # `stores.allowances.settle`


class RateLimiter:
    """The rates of one gateway's accounts. `run` must be running for the record to hear of anything."""

    def __init__(self, connection: DedicatedConnection, settle: Settle) -> None:
        self._connection = connection
        self._send = settle
        self._ledger = Ledger()
        self._owing = asyncio.Event()
        self._pressed = asyncio.Event()
        self._settled: asyncio.Future[None] | None = None  # made by the first that waits for it
        self._away = False

    async def take(
        self, request: web.Request, account: LimitedAccount, *, cost: int = 1, kind: RateKind = "creates"
    ) -> None:
        """Counts `cost` creates or other requests. Raises the 429 problem. CallerCache without limits pass."""
        allowances = account.allowances
        if allowances is None:
            return
        rate = allowances.rate(kind)
        key = RateKey(account.id, kind)
        verdict = self._try(key, rate, cost) or await self._ask_first(key, rate, cost)
        request[VERDICT] = verdict
        if not verdict.admitted:
            REFUSED.labels(kind).inc()
            if cost == 1:  # else one that asks for less may pass
                request[REFUSED_FOR] = CertainRefusal(verdict.retry_in_s, kind)
            raise throttled(max(1, math.ceil(verdict.retry_in_s)))

    def _try(self, key: RateKey, rate: Rate, cost: int) -> Verdict | None:
        verdict = self._ledger.take(key, rate, cost, monotonic(), beyond="forget" if self._away else "ask")
        if self._ledger.unsettled:
            self._owing.set()
        if self._ledger.pressing(key, rate):
            self._pressed.set()
        if self._away:
            UNCHECKED.labels(key.kind).inc()
        return verdict

    async def _ask_first(self, key: RateKey, rate: Rate, cost: int) -> Verdict:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self._pressed.set()
                    await self._next_settlement()
                    verdict = self._try(key, rate, cost)
                    if verdict is not None:
                        return verdict
        except TimeoutError:
            UNCHECKED.labels(key.kind).inc()
            verdict = self._ledger.take(key, rate, cost, monotonic(), beyond="owe")
            assert verdict is not None, "only asking leaves it open"
            return verdict

    async def _next_settlement(self) -> None:
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._settled)

    async def run(self) -> None:
        """Named task: settles soon after something is owed, and at once when somebody waits for it."""
        while True:
            await self._owing.wait()
            await set_within(self._pressed, SETTLE_EVERY_S)
            await self.settle()
            if self._away:
                await asyncio.sleep(RETRY_S)

    async def settle(self) -> None:
        """One round with the record; what it cannot take now stays owed."""
        self._pressed.clear()
        debts = self._ledger.debts(BATCH_LIMIT)
        try:
            full_in_s = await self._send(self._connection, debts)
        except TRANSIENT_ERRORS as error:
            if not self._away:
                log().warning("limits are this gateway's own for now", action="retry", error=str(error))
            self._away = True
        else:
            self._ledger.settled(debts, full_in_s, monotonic())
            self._away = False
        if not self._ledger.unsettled:
            self._owing.clear()
        settled, self._settled = self._settled, None
        if settled is not None:
            settled.set_result(None)


def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Puts what is left on an answer that has not begun."""
    verdict = request.get(VERDICT)
    if verdict is not None and not response.prepared:
        response.headers["RateLimit-Limit"] = str(verdict.limit)
        response.headers["RateLimit-Remaining"] = str(verdict.remaining)
        response.headers["RateLimit-Reset"] = str(math.ceil(verdict.full_in_s))
