"""The durable consumers of outside subscribers as NATS has them, made after their rows as often as NATS forgets.

Subscribers never make consumers themselves: a consumer may name any subject for the server to deliver to.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from tidemill.contracts import subjects
from tidemill.gateway.events.permissions import EventConsumer, event_subjects
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import Row
from tidemill.runtime.telemetry import log

ACK_WITHIN_S: Final = 30  # then an event is delivered again
UNACKNOWLEDGED_LIMIT: Final = 1000  # then no more are delivered
PULLS_LIMIT: Final = 64  # pull requests that may wait at one consumer
# A consumer that nobody pulls from is forgotten: its events are gone long before. Whoever connects again gets it anew.
IDLE_LIMIT_S: Final = 24 * 3600
REMEMBERED_S: Final = 60.0  # a consumer seen is taken to be there this long
REMEMBERED_LIMIT: Final = 10_000  # consumers; bounds memory


class ConsumerState(NamedTuple):
    waiting: int
    unacknowledged: int
    last_delivered: datetime | None


class DurableConsumers:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._seen: dict[str, float] = {}
        bus.on_reconnected(self._forget)

    async def _forget(self) -> None:
        self._seen.clear()  # the server may have come back without its data

    async def ensure(self, rows: Iterable[Row]) -> None:
        """Raises nats.errors.Error or TimeoutError while NATS is away."""
        for row in rows:
            if self._seen.get(row["id"], 0.0) < monotonic():
                await self._bus.jetstream.add_consumer(subjects.PREDICTIONS.name, _config(row))
                self._remember(row["id"])

    async def remove(self, identifier: str) -> None:
        """A server that is away forgets it by itself, since nobody pulls any more."""
        self._seen.pop(identifier, None)
        try:
            await self._bus.jetstream.delete_consumer(subjects.PREDICTIONS.name, subjects.consumer(identifier))
        except NotFoundError:
            return
        except (nats.errors.Error, TimeoutError) as error:
            log().warning("consumer stays", action="delete", error=str(error) or type(error).__name__)

    async def state(self, identifier: str) -> ConsumerState | None:
        try:
            info = await self._bus.jetstream.consumer_info(subjects.PREDICTIONS.name, subjects.consumer(identifier))
        except (nats.errors.Error, TimeoutError):
            return None
        delivered = info.delivered
        return ConsumerState(info.num_pending or 0, info.num_ack_pending or 0, delivered and delivered.last_active)

    def _remember(self, identifier: str) -> None:
        if len(self._seen) >= REMEMBERED_LIMIT:
            self._seen.clear()
        self._seen[identifier] = monotonic() + REMEMBERED_S


def of_row(row: Row) -> EventConsumer:
    return EventConsumer(row["id"], tuple(row["kinds"]))


def _config(row: Row) -> ConsumerConfig:
    """A function of the row alone, so that making it again changes nothing."""
    return ConsumerConfig(
        durable_name=subjects.consumer(row["id"]),
        filter_subjects=list(event_subjects(row["account_id"], row["kinds"])),
        deliver_policy=DeliverPolicy.BY_START_TIME,
        opt_start_time=row["created_at"],
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WITHIN_S,
        max_ack_pending=UNACKNOWLEDGED_LIMIT,
        max_waiting=PULLS_LIMIT,
        inactive_threshold=IDLE_LIMIT_S,
    )
