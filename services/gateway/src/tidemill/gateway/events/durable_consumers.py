"""The durable consumers of external subscribers in NATS, created from their rows, again whenever NATS has lost them.

Subscribers may not create consumers themselves: a consumer can make the server deliver to any subject.
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

ACK_WITHIN_S: Final = 30  # after this an event is delivered again
UNACKNOWLEDGED_LIMIT: Final = 1000  # at this number delivery pauses
PULLS_LIMIT: Final = 64  # pull requests that may wait at one consumer
# NATS deletes a consumer without pulls after this; its events are gone by then. The next connect creates it again.
IDLE_LIMIT_S: Final = 24 * 3600
SEEN_FOR_S: Final = 60.0  # how long a consumer that was created is assumed to exist
SEEN_LIMIT: Final = 10_000  # consumers; bounds memory


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
        self._seen.clear()  # the server may have lost its data

    async def ensure(self, rows: Iterable[Row]) -> None:
        """Create the consumers if they may be missing. Raise nats.errors.Error and TimeoutError."""
        for row in rows:
            if self._seen.get(row["id"], 0.0) < monotonic():
                await self._bus.jetstream.add_consumer(subjects.PREDICTIONS.name, _config(row))
                self._mark_seen(row["id"])

    async def remove(self, identifier: str) -> None:
        """Delete the consumer. When NATS cannot be reached, it deletes the consumer itself after IDLE_LIMIT_S."""
        self._seen.pop(identifier, None)
        try:
            await self._bus.jetstream.delete_consumer(subjects.PREDICTIONS.name, subjects.consumer(identifier))
        except NotFoundError:
            return
        except (nats.errors.Error, TimeoutError) as error:
            log().warning("consumer not deleted", action="delete", error=str(error) or type(error).__name__)

    async def state(self, identifier: str) -> ConsumerState | None:
        try:
            info = await self._bus.jetstream.consumer_info(subjects.PREDICTIONS.name, subjects.consumer(identifier))
        except (nats.errors.Error, TimeoutError):
            return None
        delivered = info.delivered
        return ConsumerState(info.num_pending or 0, info.num_ack_pending or 0, delivered and delivered.last_active)

    def _mark_seen(self, identifier: str) -> None:
        if len(self._seen) >= SEEN_LIMIT:
            self._seen.clear()
        self._seen[identifier] = monotonic() + SEEN_FOR_S


def consumer_from_row(row: Row) -> EventConsumer:
    return EventConsumer(row["id"], tuple(row["kinds"]))


def _config(row: Row) -> ConsumerConfig:
    """Depends on the row only, so that creating the consumer again changes nothing."""
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
