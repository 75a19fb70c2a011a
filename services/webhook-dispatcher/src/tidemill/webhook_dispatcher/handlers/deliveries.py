"""Terminal deliveries: due rows are leased, tried, and finished or put off. A hanging endpoint delays itself only."""

import asyncio
import random
from collections import Counter
from typing import Final

from tidemill.runtime.db import AWAY, Database, Row, insistently
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.rules import Verdict, verdict
from tidemill.webhook_dispatcher.schedule import next_wait_s
from tidemill.webhook_dispatcher.sending import Answer, Sender

LEASE_MARGIN_S: Final = 30.0  # beyond a try's time-out: a slow database must not make a delivery come twice
BATCH: Final = 64


class Deliveries:
    """`wake` is set when a terminal event was announced."""

    def __init__(self, config: Config, database: Database, sender: Sender) -> None:
        self._config = config
        self._database = database
        self._sender = sender
        self._at: Counter[str] = Counter()  # tries under way by endpoint
        self._tasks: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Named task."""
        while True:
            self.wake.clear()
            try:
                while await self._take():
                    pass
            except AWAY as error:
                log().warning("cannot look for deliveries", action="retry", error=str(error))
            try:
                async with asyncio.timeout(self._config.look_every_s):
                    await self.wake.wait()
            except TimeoutError:
                continue

    async def _take(self) -> bool:
        """Leases due rows and starts their tries; whether there may be more."""
        room = min(BATCH, self._config.tries - len(self._tasks))
        if room <= 0:
            return False
        busy = [endpoint for endpoint, count in self._at.items() if count >= self._config.endpoint_tries]
        rows = await store.lease(self._database, room, busy, self._config.timeout_s + LEASE_MARGIN_S)
        put_back = [row["id"] for row in rows if not self._start(row)]
        if put_back:
            await store.release(self._database, put_back)
        return len(rows) > len(put_back)

    def _start(self, row: Row) -> bool:
        endpoint = f"{row['account_id']} {row['url']}"
        if self._at[endpoint] >= self._config.endpoint_tries:
            return False
        self._at[endpoint] += 1
        task = asyncio.create_task(self._try(row), name=f"delivery {row['id']}")
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._at[endpoint] -= 1
            if not self._at[endpoint]:
                del self._at[endpoint]
            if not done.cancelled() and done.exception() is not None:
                log().error("delivery", action="deliver", delivery=row["id"], exc_info=done.exception())
            self.wake.set()

        task.add_done_callback(ended)
        return True

    async def _try(self, row: Row) -> None:
        prediction = await insistently("prediction", lambda: store.prediction(self._database, row["prediction_id"]))
        if prediction is None:
            await self._finish(row, "failed", Answer(None, "the prediction was deleted"))
            return
        text: str = row["body"] or self._sender.body(prediction).decode()
        if row["body"] is None:
            await insistently("body", lambda: store.keep_body(self._database, row["id"], text))
        answer = await self._sender.send(row["url"], prediction["webhook_secret"], row["id"], text.encode())
        await self._settle(row, answer)

    async def _settle(self, row: Row, answer: Answer) -> None:
        ruling = Verdict.RETRY if answer.status is None else verdict(answer.status)
        if ruling is Verdict.DELIVERED:
            await self._finish(row, "delivered", answer)
            return
        tries = row["tries"] + 1
        scale = self._config.retry_scale
        wait = next_wait_s(tries, random.random(), scale=scale, retry_after_s=answer.retry_after_s)
        if ruling is Verdict.GIVE_UP or wait is None:
            await self._finish(row, "failed", answer)
            return
        log().info(
            "put off", action="deliver", delivery=row["id"], tries=tries, error=answer.error, wait_s=round(wait, 1)
        )
        await insistently(
            "retry", lambda: store.retry(self._database, row["id"], tries, answer.status, answer.error, wait)
        )

    async def _finish(self, row: Row, status: str, answer: Answer) -> None:
        log().info(status, action="deliver", delivery=row["id"], tries=row["tries"] + 1, error=answer.error)
        await insistently(
            "finish",
            lambda: store.finish(self._database, row["id"], status, row["tries"] + 1, answer.status, answer.error),
        )

    async def drained(self) -> None:
        """Tries under way end by their own time-outs."""
        if self._tasks:
            await asyncio.wait(self._tasks)
