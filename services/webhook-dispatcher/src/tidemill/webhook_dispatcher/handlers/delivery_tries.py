"""One try of a terminal delivery, from the leased row to the stored result."""

import random
from typing import Final

from tidemill.runtime.clock import now
from tidemill.runtime.db import Database, Row, retry_transient
from tidemill.runtime.deliveries import trying
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.handlers.endpoints import EndpointMonitor
from tidemill.webhook_dispatcher.handlers.progress import ProgressSender
from tidemill.webhook_dispatcher.retry_schedule import next_wait_s
from tidemill.webhook_dispatcher.rules import Verdict, classify_status
from tidemill.webhook_dispatcher.sender import Sender, TryResult, WebhookMessage, signing_secrets

LEASE_MARGIN_S: Final = 30.0  # beyond a try's timeout: a slow database must not cause a second delivery


class DeliveryTries:
    """Runs tries. A failure before the result is repeated by the next lease of the row; storing the result
    is retried.
    """

    def __init__(self, config: Config, database: Database, sender: Sender, progress: ProgressSender) -> None:
        self._config = config
        self._database = database
        self._sender = sender
        self._progress = progress
        self._endpoint_monitor = EndpointMonitor(config, database)
        # A first try may wait for a progress event in flight and send `start` first.
        self.lease_s = 2 * config.progress_timeout_s + config.timeout_s + LEASE_MARGIN_S

    async def run(self, row: Row) -> None:
        if row["probing"] and not await self._endpoint_monitor.claim_probe(row, self.lease_s):
            await trying.release(self._database, [row["id"]])
            return
        prediction_id = row["prediction_id"]
        if row["tries"] == 0:
            await self._progress.wait_until_idle(prediction_id)
        prediction = await retry_transient("prediction", lambda: store.prediction(self._database, prediction_id))
        if prediction is None:
            await self._finish(row, "failed", TryResult(None, "the prediction was deleted", at=now()), None)
            return
        if row["tries"] == 0:
            await self._progress.send_start_if_missing(prediction)
        text: str = row["body"] or self._sender.bodies.current(prediction).decode()
        message = WebhookMessage(row["id"], row["url"], text.encode(), signing_secrets(prediction))
        result = await self._sender.send(message, timeout_s=self._config.timeout_s)
        verdict = Verdict.RETRY if result.status is None else classify_status(result.status)
        await self._store_result(row, verdict, result, text)
        await self._endpoint_monitor.record(row, verdict)

    async def _store_result(self, row: Row, verdict: Verdict, result: TryResult, text: str) -> None:
        if verdict is Verdict.DELIVERED:
            await self._finish(row, "delivered", result, text)
            return
        tries = row["tries"] + 1
        wait = next_wait_s(tries, random.random(), scale=self._config.retry_scale, retry_after_s=result.retry_after_s)
        # A redelivery that the owner asked for is one more try outside the schedule.
        if verdict is Verdict.GIVE_UP or wait is None or row["redelivery"]:
            await self._finish(row, "failed", result, text)
            return
        log().info(
            "retry scheduled",
            action="deliver",
            delivery=row["id"],
            tries=tries,
            error=result.error,
            wait_s=round(wait, 1),
        )
        await retry_transient("retry", lambda: store.retry(self._database, row, result, text, wait))

    async def _finish(self, row: Row, status: str, result: TryResult, text: str | None) -> None:
        log().info(status, action="deliver", delivery=row["id"], tries=row["tries"] + 1, error=result.error)
        await retry_transient("finish", lambda: store.finish(self._database, row, status, result, text))
