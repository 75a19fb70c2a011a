"""Terminal deliveries: due rows are leased, tried, and finished or put off. A hanging endpoint delays itself only."""

import asyncio
import random
from typing import Final

from tidemill.runtime.db import AWAY, Database, Row, insistently
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.handlers.progress import Progress
from tidemill.webhook_dispatcher.lanes import Lanes, endpoint
from tidemill.webhook_dispatcher.rules import Verdict, verdict
from tidemill.webhook_dispatcher.schedule import next_wait_s
from tidemill.webhook_dispatcher.sending import Answer, Sender

LEASE_MARGIN_S: Final = 30.0  # beyond a try's time-out: a slow database must not make a delivery come twice
BATCH: Final = 64


class Deliveries:
    """`wake` is set when a terminal event was announced, and when a try has ended."""

    def __init__(self, config: Config, database: Database, sender: Sender, progress: Progress) -> None:
        self._config = config
        self._database = database
        self._sender = sender
        self._progress = progress
        self._lanes = Lanes(
            endpoint_tries=config.endpoint_tries, account_tries=config.account_tries, tries=config.tries
        )
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
        if self._lanes.room <= 0:
            return False
        lease_s = self._config.progress_timeout_s + self._config.timeout_s + LEASE_MARGIN_S
        rows = await store.lease(self._database, self._lanes, BATCH, lease_s)
        put_back = [row["id"] for row in rows if not self._start(row)]
        if put_back:
            await store.release(self._database, put_back)
        return len(rows) > len(put_back)

    def _start(self, row: Row) -> bool:
        place = endpoint(row["account_id"], row["url"])
        if not self._lanes.take(place):
            return False
        task = asyncio.create_task(self._try(row), name=f"delivery {row['id']}")
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._lanes.give_back(place)
            if not done.cancelled() and done.exception() is not None:
                log().error("delivery", action="deliver", delivery=row["id"], exc_info=done.exception())
            self.wake.set()

        task.add_done_callback(ended)
        return True

    async def _try(self, row: Row) -> None:
        await self._progress.settled(row["prediction_id"])
        prediction = await insistently("prediction", lambda: store.prediction(self._database, row["prediction_id"]))
        if prediction is None:
            await self._finish(row, "failed", Answer(None, "the prediction was deleted"))
            return
        text: str = row["body"] or self._sender.body(prediction).decode()
        if row["body"] is None:
            await insistently("body", lambda: store.keep_body(self._database, row["id"], text))
        secret, timeout_s = prediction["webhook_secret"], self._config.timeout_s
        answer = await self._sender.send(row["url"], secret, row["id"], text.encode(), timeout_s=timeout_s)
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
        """Tries under way end by their own time-outs; what has not been tried is taken by another dispatcher."""
        if self._tasks:
            await asyncio.wait(self._tasks)
