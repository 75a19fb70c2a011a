"""One try of a terminal delivery, from the leased row to what is written of it."""

import random
from typing import Final

from tidemill.runtime.clock import now
from tidemill.runtime.db import Database, Row, retry_transient
from tidemill.runtime.deliveries import trying
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.handlers.endpoints import Endpoints
from tidemill.webhook_dispatcher.handlers.progress import Progress
from tidemill.webhook_dispatcher.rules import Verdict, verdict
from tidemill.webhook_dispatcher.schedule import next_wait_s
from tidemill.webhook_dispatcher.sending import Answer, Message, Sender, secrets

LEASE_MARGIN_S: Final = 30.0  # beyond a try's time-out: a slow database must not make a delivery come twice


class Tries:
    """Everything before the result may fail and be done again by whoever leases the row next; the result is insisted
    on.
    """

    def __init__(self, config: Config, database: Database, sender: Sender, progress: Progress) -> None:
        self._config = config
        self._database = database
        self._sender = sender
        self._progress = progress
        self._endpoints = Endpoints(config, database)
        # A first try may wait for progress that is on its way, and for its own `start`.
        self.lease_s = 2 * config.progress_timeout_s + config.timeout_s + LEASE_MARGIN_S

    async def run(self, row: Row) -> None:
        if row["probing"] and not await self._endpoints.may_probe(row, self.lease_s):
            await trying.release(self._database, [row["id"]])
            return
        prediction_id = row["prediction_id"]
        if row["tries"] == 0:
            await self._progress.settled(prediction_id)
        prediction = await retry_transient("prediction", lambda: store.prediction(self._database, prediction_id))
        if prediction is None:
            await self._finish(row, "failed", Answer(None, "the prediction was deleted", at=now()), None)
            return
        if row["tries"] == 0:
            await self._progress.start_first(prediction)
        text: str = row["body"] or self._sender.bodies.current(prediction).decode()
        message = Message(row["id"], row["url"], text.encode(), secrets(prediction))
        answer = await self._sender.send(message, timeout_s=self._config.timeout_s)
        ruling = Verdict.RETRY if answer.status is None else verdict(answer.status)
        await self._settle(row, ruling, answer, text)
        await self._endpoints.record(row, ruling)

    async def _settle(self, row: Row, ruling: Verdict, answer: Answer, text: str) -> None:
        if ruling is Verdict.DELIVERED:
            await self._finish(row, "delivered", answer, text)
            return
        tries = row["tries"] + 1
        wait = next_wait_s(tries, random.random(), scale=self._config.retry_scale, retry_after_s=answer.retry_after_s)
        # What its owner asked for again is one more try, after a schedule that is over.
        if ruling is Verdict.GIVE_UP or wait is None or row["redelivery"]:
            await self._finish(row, "failed", answer, text)
            return
        log().info(
            "put off", action="deliver", delivery=row["id"], tries=tries, error=answer.error, wait_s=round(wait, 1)
        )
        await retry_transient("retry", lambda: store.retry(self._database, row, answer, text, wait))

    async def _finish(self, row: Row, status: str, answer: Answer, text: str | None) -> None:
        log().info(status, action="deliver", delivery=row["id"], tries=row["tries"] + 1, error=answer.error)
        await retry_transient("finish", lambda: store.finish(self._database, row, status, answer, text))
