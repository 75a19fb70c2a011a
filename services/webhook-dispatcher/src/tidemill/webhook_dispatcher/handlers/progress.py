"""start, output and logs events: best effort, coalesced, in order, never sent once the prediction has ended.

They are hints that every dispatcher hears, so only the one that leads sends them. Hints may come late, twice or in any
order: what is told, and when, is decided from the row.
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
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.lanes import Endpoint, Lanes
from tidemill.webhook_dispatcher.rules import Telling, next_telling, wants
from tidemill.webhook_dispatcher.sending import Message, Sender, secrets

FOLLOWED_LIMIT: Final = 10_000  # predictions followed at once; further ones get their end only
# Less than the ends of predictions have: progress that finds no room is dropped, and the next one tells more anyway.
ENDPOINT_SENDINGS: Final = 2
ACCOUNT_SENDINGS: Final = 16
SENDINGS: Final = 64
LEADER_TIMEOUT_S: Final = 0.5  # it answers at once; while nobody leads no progress is sent either
ASK_AGAIN_S: Final = 0.1
decode: Final = msgspec.json.Decoder(WebhookEvent).decode


class _Followed(msgspec.Struct):
    """One prediction: what is still to be told, and when outputs or logs were last told."""

    events: set[str]
    sending: asyncio.Lock
    started: bool = False  # its start was told, or could not be
    told_at: float = float("-inf")


class Progress:
    """One sending at a time for each prediction, so that its events keep their order."""

    def __init__(self, config: Config, database: Database, bus: Bus, sender: Sender, leader: Leader) -> None:
        self._config = config
        self._database = database
        self._bus = bus
        self._sender = sender
        self._leader = leader
        self._lanes = Lanes(endpoint_tries=ENDPOINT_SENDINGS, account_tries=ACCOUNT_SENDINGS, tries=SENDINGS)
        self._followed: dict[str, _Followed] = {}
        self._tasks = Tasks()

    def note(self, prediction_id: str, event: str) -> None:
        followed = self._followed.get(prediction_id)
        if followed is None:
            if len(self._followed) >= FOLLOWED_LIMIT or not self._leader.held:
                return
            followed = self._followed[prediction_id] = _Followed(events=set(), sending=asyncio.Lock())
            self._tasks.start(self._follow(prediction_id, followed), f"progress {prediction_id}")
        followed.events.add(event)

    def ended(self, prediction_id: str) -> None:
        """What has not been told yet is out of date, but for the start: that is told to whoever wants no end."""
        followed = self._followed.get(prediction_id)
        if followed is not None:
            followed.events &= {"start"}

    async def settled(self, prediction_id: str) -> None:
        """Returns when nothing is on its way that would arrive after the end."""
        self.ended(prediction_id)
        followed = self._followed.get(prediction_id)
        if followed is not None:
            async with followed.sending:
                pass
        if not self._leader.held:
            await self._settled_at_leader(prediction_id)

    async def _settled_at_leader(self, prediction_id: str) -> None:
        question = WebhookEvent(id=prediction_id, event="completed")
        until = monotonic() + self._config.progress_timeout_s
        while monotonic() < until:
            answer = await self._bus.ask(subjects.PROGRESS_STATE, question, ProgressState, timeout_s=LEADER_TIMEOUT_S)
            if answer is None or not answer.on_its_way:
                return
            await asyncio.sleep(ASK_AGAIN_S)

    async def on_question(self, message: Msg) -> None:
        """Another dispatcher is about to tell an end. Only the one that leads knows, so only it answers."""
        if self._leader.held:
            prediction_id = decode(message.data).id
            self.ended(prediction_id)
            followed = self._followed.get(prediction_id)
            state = ProgressState(on_its_way=followed is not None and followed.sending.locked())
            await self._bus.send_bytes(message.reply, encode(state))

    async def start_first(self, row: Row) -> None:
        """Before the end of a prediction that was over before its start could be told."""
        begun = row["started_at"] is not None and not row["data_removed"]
        if begun and not row["start_told"] and wants(row["webhook_events"], "start"):
            await self._send(row, "start", self._sender.bodies.at_start(row))

    async def _follow(self, prediction_id: str, followed: _Followed) -> None:
        """Until nothing has happened for as long as two events must lie apart."""
        try:
            while True:
                if "start" not in followed.events:
                    await asyncio.sleep(followed.told_at + self._config.throttle_s - monotonic())
                events, followed.events = followed.events, set()
                if not events:
                    return
                async with followed.sending:
                    told = await self._tell(prediction_id, events, started=followed.started)
                if told is None:
                    return
                followed.events |= told.rest
                if told.event == "start":
                    followed.started = True
                else:
                    followed.told_at = monotonic()
        except TRANSIENT_ERRORS as error:
            log().warning("progress not told", action="deliver", prediction=prediction_id, error=str(error))
        finally:
            del self._followed[prediction_id]

    async def _tell(self, prediction_id: str, events: set[str], *, started: bool) -> Telling | None:
        """What was told; None when there is nothing more to tell."""
        row = await store.prediction(self._database, prediction_id)
        if row is None or row["webhook"] is None or not self._leader.held:
            return None
        telling = next_telling(events, row["webhook_events"], start_told=started or row["start_told"])
        if telling is None:
            return None
        if Status(row["status"]) in TERMINAL:
            # The end comes with its own delivery, which tells the start first.
            if not wants(row["webhook_events"], "completed"):
                await self.start_first(row)
            return None
        if row["status"] == Status.PROCESSING.value:
            body = self._sender.bodies.at_start(row) if telling.event == "start" else self._sender.bodies.current(row)
            await self._send(row, telling.event, body)
        return telling

    async def _send(self, row: Row, event: str, body: bytes) -> None:
        place = Endpoint(row["account_id"], row["webhook_host"])
        if row["shut"] or not self._lanes.take(place):
            return
        try:
            message = Message(f"msg_{new_id()}", row["webhook"], body, secrets(row))
            answer = await self._sender.send(message, timeout_s=self._config.progress_timeout_s)
            await store.log_progress(self._database, row, message.id, event, answer)
        finally:
            self._lanes.give_back(place)

    async def stop(self) -> None:
        await self._tasks.stop()
