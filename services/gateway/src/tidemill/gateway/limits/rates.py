"""Rate limits of accounts: decides by the ledger at once, and settles with the shared record in the background.

A request waits for the record only if its account has used up what this gateway may owe. If the record does not
answer, no request is refused for that: the ledger alone decides, and such requests are counted as unchecked.
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

SETTLE_EVERY_S: Final = 0.05  # how long the first debt waits for others; twenty statements a second at most
RECORD_WITHIN_S: Final = 0.5  # how long a request waits for the record; a healthy one answers in milliseconds
RETRY_S: Final = 0.5  # after the record could not be reached
BATCH_LIMIT: Final = 500  # accounts in one statement
# Under this key a request keeps the verdict for the headers of its response.
VERDICT: Final = web.RequestKey("verdict", Verdict)


class CertainRefusal(NamedTuple):
    """For `seconds` the rate refuses every request of the account."""

    seconds: float
    kind: RateKind


REFUSED_FOR: Final = web.RequestKey("refused_for", CertainRefusal)

REFUSED: Final = Counter("tidemill_refused_total", "Requests refused by a limit", ["limit"])
UNCHECKED: Final = Counter(
    "tidemill_limits_unchecked_total", "Requests admitted without knowing what others had taken", ["limit"]
)


Settle = Callable[[DedicatedConnection, Sequence[Debt]], Awaitable[dict[RateKey, float]]]  # `stores.allowances.settle`


class RateLimiter:
    """The rates of all accounts at one gateway. The task `run` settles with the record."""

    def __init__(self, connection: DedicatedConnection, settle: Settle) -> None:
        self._connection = connection
        self._settle_with = settle
        self._ledger = Ledger()
        self._has_debts = asyncio.Event()
        self._settle_now = asyncio.Event()
        self._settled: asyncio.Future[None] | None = None  # created by the first request that waits for it
        self._is_unreachable = False

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
            if cost == 1:  # after a higher cost, a request with a lower one may pass
                request[REFUSED_FOR] = CertainRefusal(verdict.retry_in_s, kind)
            raise throttled(max(1, math.ceil(verdict.retry_in_s)))

    def _try(self, key: RateKey, rate: Rate, cost: int) -> Verdict | None:
        verdict = self._ledger.take(key, rate, cost, monotonic(), beyond="forget" if self._is_unreachable else "ask")
        if self._ledger.unsettled:
            self._has_debts.set()
        if self._ledger.is_pressing(key, rate):
            self._settle_now.set()
        if self._is_unreachable:
            UNCHECKED.labels(key.kind).inc()
        return verdict

    async def _ask_first(self, key: RateKey, rate: Rate, cost: int) -> Verdict:
        try:
            async with asyncio.timeout(RECORD_WITHIN_S):
                while True:
                    self._settle_now.set()
                    await self._next_settlement()
                    verdict = self._try(key, rate, cost)
                    if verdict is not None:
                        return verdict
        except TimeoutError:
            UNCHECKED.labels(key.kind).inc()
            verdict = self._ledger.take(key, rate, cost, monotonic(), beyond="owe")
            assert verdict is not None, "only `ask` returns None"
            return verdict

    async def _next_settlement(self) -> None:
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._settled)

    async def run(self) -> None:
        """Named task: settle soon after something is owed, and at once when a request waits for it."""
        while True:
            await self._has_debts.wait()
            await set_within(self._settle_now, SETTLE_EVERY_S)
            await self.settle()
            if self._is_unreachable:
                await asyncio.sleep(RETRY_S)

    async def settle(self) -> None:
        """Send the debts to the record once. What it cannot take now stays owed."""
        self._settle_now.clear()
        debts = self._ledger.debts(BATCH_LIMIT)
        try:
            full_in_s = await self._settle_with(self._connection, debts)
        except TRANSIENT_ERRORS as error:
            if not self._is_unreachable:
                log().warning("limits are this gateway's own for now", action="retry", error=str(error))
            self._is_unreachable = True
        else:
            self._ledger.settled(debts, full_in_s, monotonic())
            self._is_unreachable = False
        if not self._ledger.unsettled:
            self._has_debts.clear()
        settled, self._settled = self._settled, None
        if settled is not None:
            settled.set_result(None)


def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the RateLimit headers of a response that has not begun."""
    verdict = request.get(VERDICT)
    if verdict is not None and not response.prepared:
        response.headers["RateLimit-Limit"] = str(verdict.limit)
        response.headers["RateLimit-Remaining"] = str(verdict.remaining)
        response.headers["RateLimit-Reset"] = str(math.ceil(verdict.full_in_s))
