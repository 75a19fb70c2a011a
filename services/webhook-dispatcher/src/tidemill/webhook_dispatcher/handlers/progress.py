"""start, output and logs events: best effort, coalesced, never sent once the prediction has ended.

They are hints that every dispatcher hears, so only the one that leads sends them.
"""

import asyncio
from typing import Final

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import AWAY, Database, Row
from tidemill.runtime.leader import Leader
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.lanes import Lanes, endpoint
from tidemill.webhook_dispatcher.rules import wants
from tidemill.webhook_dispatcher.sending import Sender

FOLLOWED_LIMIT: Final = 10_000  # predictions followed at once; further ones get their end only
# Less than the ends of predictions have: progress that finds no room is dropped, and the next one tells more anyway.
ENDPOINT_SENDINGS: Final = 2
ACCOUNT_SENDINGS: Final = 16
SENDINGS: Final = 64


class _Followed(msgspec.Struct):
    """One prediction: what is still to be told, and when it was last told something."""

    events: set[str]
    sending: asyncio.Lock
    task: asyncio.Task[None] | None = None
    told_at: float = float("-inf")


class Progress:
    """One sending at a time for each prediction, so that its events keep their order."""

    def __init__(self, config: Config, database: Database, sender: Sender, leader: Leader) -> None:
        self._config = config
        self._database = database
        self._sender = sender
        self._leader = leader
        self._lanes = Lanes(endpoint_tries=ENDPOINT_SENDINGS, account_tries=ACCOUNT_SENDINGS, tries=SENDINGS)
        self._followed: dict[str, _Followed] = {}

    def note(self, prediction_id: str, event: str) -> None:
        followed = self._followed.get(prediction_id)
        if followed is None:
            if len(self._followed) >= FOLLOWED_LIMIT or not self._leader.held:
                return
            followed = self._followed[prediction_id] = _Followed(events=set(), sending=asyncio.Lock())
            followed.task = asyncio.create_task(self._follow(prediction_id, followed), name=f"progress {prediction_id}")
        followed.events.add(event)

    def ended(self, prediction_id: str) -> None:
        """What has not been told yet is out of date."""
        followed = self._followed.get(prediction_id)
        if followed is not None:
            followed.events.clear()

    async def settled(self, prediction_id: str) -> None:
        """Returns when nothing is on its way that would arrive after the end."""
        self.ended(prediction_id)
        followed = self._followed.get(prediction_id)
        if followed is not None:
            async with followed.sending:
                pass

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
                    if not await self._tell(prediction_id, events):
                        return
                followed.told_at = monotonic()
        except AWAY as error:
            log().warning("progress not told", action="deliver", prediction=prediction_id, error=str(error))
        finally:
            del self._followed[prediction_id]

    async def _tell(self, prediction_id: str, events: set[str]) -> bool:
        """False when there is nothing more to tell."""
        row = await store.prediction(self._database, prediction_id)
        if row is None or row["webhook"] is None or Status(row["status"]) in TERMINAL:
            return False
        if any(wants(row["webhook_events"], event) for event in events):
            await self._send(row)
        return True

    async def _send(self, row: Row) -> None:
        place = endpoint(row["account_id"], row["webhook"])
        if not self._lanes.take(place):
            return
        try:
            body, secret = self._sender.body(row), row["webhook_secret"]
            message, timeout_s = f"msg_{new_id()}", self._config.progress_timeout_s
            await self._sender.send(row["webhook"], secret, message, body, timeout_s=timeout_s)
        finally:
            self._lanes.give_back(place)

    async def stop(self) -> None:
        tasks = [followed.task for followed in self._followed.values() if followed.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
