"""start, output and logs events: best effort, coalesced, never sent once the prediction has ended."""

import asyncio
from typing import Final

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import AWAY, Database
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.rules import wants
from tidemill.webhook_dispatcher.sending import Sender

FOLLOWED_LIMIT: Final = 10_000  # predictions followed at once; further ones get their end only


class _Followed(msgspec.Struct):
    """One prediction: what is still to be told, and when it was last told something."""

    events: set[str]
    task: asyncio.Task[None] | None = None
    told_at: float = 0.0


class Progress:
    """One sending at a time for each prediction, so that its events keep their order."""

    def __init__(self, config: Config, database: Database, sender: Sender) -> None:
        self._config = config
        self._database = database
        self._sender = sender
        self._followed: dict[str, _Followed] = {}

    def note(self, prediction_id: str, event: str) -> None:
        followed = self._followed.get(prediction_id)
        if followed is None:
            if len(self._followed) >= FOLLOWED_LIMIT:
                return
            followed = self._followed[prediction_id] = _Followed(events=set())
        followed.events.add(event)
        if followed.task is None:
            followed.task = asyncio.create_task(self._tell(prediction_id, followed), name=f"progress {prediction_id}")

    def ended(self, prediction_id: str) -> None:
        """What has not been told yet is out of date."""
        followed = self._followed.get(prediction_id)
        if followed is not None:
            followed.events.clear()

    async def _tell(self, prediction_id: str, followed: _Followed) -> None:
        try:
            while followed.events:
                events = {"start"} if "start" in followed.events else set(followed.events)
                if "start" not in events:
                    await asyncio.sleep(followed.told_at + self._config.throttle_s - monotonic())
                    events = set(followed.events)
                followed.events -= events
                if events and not await self._send(prediction_id, events):
                    return
                followed.told_at = monotonic()
        except AWAY as error:
            log().warning("progress not told", action="deliver", prediction=prediction_id, error=str(error))
        finally:
            del self._followed[prediction_id]

    async def _send(self, prediction_id: str, events: set[str]) -> bool:
        """False when there is nothing more to tell."""
        row = await store.prediction(self._database, prediction_id)
        if row is None or row["webhook"] is None or Status(row["status"]) in TERMINAL:
            return False
        if any(wants(row["webhook_events"], event) for event in events):
            body = self._sender.body(row)
            await self._sender.send(row["webhook"], row["webhook_secret"], f"msg_{new_id()}", body)
        return True

    async def stop(self) -> None:
        for followed in list(self._followed.values()):
            if followed.task is not None:
                followed.task.cancel()
