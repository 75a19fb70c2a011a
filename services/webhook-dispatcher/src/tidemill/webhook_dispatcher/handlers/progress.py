"""Sends `start`, `output` and `logs` events: best effort, coalesced, in order, never after the prediction has ended.

Every dispatcher receives the hints, so only the leader sends the events. Hints may come late, twice or in any order:
the row decides what is sent.
"""

import asyncio
from typing import Final

import msgspec
from nats.aio.msg import Msg

from tidemill.contracts import subjects
from tidemill.contracts.events import ProgressState, WebhookEvent
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.runtime.bus import Bus, encode
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, Row
from tidemill.runtime.leader import Leader
from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.concurrency_limits import ConcurrencyLimits, EndpointKey
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.rules import ProgressStep, next_progress_step, wants
from tidemill.webhook_dispatcher.sender import Sender, WebhookMessage, signing_secrets

TRACKED_LIMIT: Final = 10_000  # predictions tracked at once; further ones get only their `completed` event
# Lower than the limits of terminal deliveries: progress without a free slot is dropped, and the next event has more.
ENDPOINT_PROGRESS_LIMIT: Final = 2
ACCOUNT_PROGRESS_LIMIT: Final = 16
PROGRESS_LIMIT: Final = 64
LEADER_TIMEOUT_S: Final = 0.5  # it replies at once; without a leader nobody sends progress
POLL_LEADER_EVERY_S: Final = 0.1
decode: Final = msgspec.json.Decoder(WebhookEvent).decode


class _TrackedPrediction(msgspec.Struct):
    """One prediction: the events still to send, and when output or logs were last sent."""

    events: set[str]
    sending: asyncio.Lock
    started: bool = False  # `start` was sent, or could not be
    sent_at: float = float("-inf")


class ProgressSender:
    """Sends one event at a time for each prediction, so that its events keep their order."""

    def __init__(self, config: Config, database: Database, bus: Bus, sender: Sender, leader: Leader) -> None:
        self._config = config
        self._database = database
        self._bus = bus
        self._sender = sender
        self._leader = leader
        self._limits = ConcurrencyLimits(
            endpoint_tries=ENDPOINT_PROGRESS_LIMIT, account_tries=ACCOUNT_PROGRESS_LIMIT, tries=PROGRESS_LIMIT
        )
        self._tracked: dict[str, _TrackedPrediction] = {}
        self._tasks = Tasks()

    def on_progress(self, prediction_id: str, event: str) -> None:
        tracked = self._tracked.get(prediction_id)
        if tracked is None:
            if len(self._tracked) >= TRACKED_LIMIT or not self._leader.held:
                return
            tracked = self._tracked[prediction_id] = _TrackedPrediction(events=set(), sending=asyncio.Lock())
            self._tasks.start(self._track(prediction_id, tracked), f"progress {prediction_id}")
        tracked.events.add(event)

    def on_completed(self, prediction_id: str) -> None:
        """Drop unsent events except `start`, which an owner without `completed` in the filter still gets."""
        tracked = self._tracked.get(prediction_id)
        if tracked is not None:
            tracked.events &= {"start"}

    async def wait_until_idle(self, prediction_id: str) -> None:
        """Return when no progress event is in flight that could arrive after the `completed` event."""
        self.on_completed(prediction_id)
        tracked = self._tracked.get(prediction_id)
        if tracked is not None:
            async with tracked.sending:
                pass
        if not self._leader.held:
            await self._wait_for_leader(prediction_id)

    async def _wait_for_leader(self, prediction_id: str) -> None:
        question = WebhookEvent(id=prediction_id, event="completed")
        until = monotonic() + self._config.progress_timeout_s
        while monotonic() < until:
            answer = await self._bus.ask(subjects.PROGRESS_STATE, question, ProgressState, timeout_s=LEADER_TIMEOUT_S)
            if answer is None or not answer.on_its_way:
                return
            await asyncio.sleep(POLL_LEADER_EVERY_S)

    async def on_state_request(self, message: Msg) -> None:
        """Reply to a dispatcher that is about to send a `completed` event. Only the leader knows and replies."""
        if self._leader.held:
            prediction_id = decode(message.data).id
            self.on_completed(prediction_id)
            tracked = self._tracked.get(prediction_id)
            state = ProgressState(on_its_way=tracked is not None and tracked.sending.locked())
            await self._bus.send_bytes(message.reply, encode(state))

    async def send_start_if_missing(self, row: Row) -> None:
        """Send `start` before `completed` if the prediction ended before its `start` could be sent."""
        begun = row["started_at"] is not None and not row["data_removed"]
        if begun and not row["start_sent"] and wants(row["webhook_events"], "start"):
            await self._send(row, "start", self._sender.bodies.at_start(row))

    async def _track(self, prediction_id: str, tracked: _TrackedPrediction) -> None:
        """Send events until none was noted for one throttle interval."""
        try:
            while True:
                if "start" not in tracked.events:
                    await asyncio.sleep(tracked.sent_at + self._config.throttle_s - monotonic())
                events, tracked.events = tracked.events, set()
                if not events:
                    return
                async with tracked.sending:
                    step = await self._send_next(prediction_id, events, started=tracked.started)
                if step is None:
                    return
                tracked.events |= step.rest
                if step.event == "start":
                    tracked.started = True
                else:
                    tracked.sent_at = monotonic()
        except TRANSIENT_ERRORS as error:
            log().warning("progress not sent", action="deliver", prediction=prediction_id, error=str(error))
        finally:
            del self._tracked[prediction_id]

    async def _send_next(self, prediction_id: str, events: set[str], *, started: bool) -> ProgressStep | None:
        """Send the next event. Return it, or None if nothing is left to send."""
        row = await store.prediction(self._database, prediction_id)
        if row is None or row["webhook"] is None or not self._leader.held:
            return None
        next_step = next_progress_step(events, row["webhook_events"], start_sent=started or row["start_sent"])
        if next_step is None:
            return None
        if Status(row["status"]) in TERMINAL:
            # `completed` has its own delivery, which sends `start` first.
            if not wants(row["webhook_events"], "completed"):
                await self.send_start_if_missing(row)
            return None
        if row["status"] == Status.PROCESSING.value:
            body = self._sender.bodies.at_start(row) if next_step.event == "start" else self._sender.bodies.current(row)
            await self._send(row, next_step.event, body)
        return next_step

    async def _send(self, row: Row, event: str, body: bytes) -> None:
        endpoint = EndpointKey(row["account_id"], row["webhook_host"])
        if row["blocked"] or not self._limits.acquire(endpoint):
            return
        try:
            message = WebhookMessage(f"msg_{new_id()}", row["webhook"], body, signing_secrets(row))
            result = await self._sender.send(message, timeout_s=self._config.progress_timeout_s)
            await store.log_progress(self._database, row, message.id, event, result)
        finally:
            self._limits.release(endpoint)

    async def stop(self) -> None:
        await self._tasks.stop()
