"""Accepting predictions: requests that wait at the same moment share one INSERT and one commit.

Accepted means committed. The job that follows is a hint; when it is lost, the scheduler's sweep finds the row.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import nats

from tidemill.contracts import subjects
from tidemill.contracts.events import Demand, Job, Urgent, Warm
from tidemill.contracts.limits import INLINE_INPUT_LIMIT_BYTES
from tidemill.gateway.accepted import Accepted
from tidemill.runtime.batch import Batcher
from tidemill.runtime.bus import Bus, encode
from tidemill.runtime.clock import at
from tidemill.runtime.db import Lane, columns, insistently

COLUMNS: Final = """id, account_id, model, version, queue, gateway, source, input, webhook, webhook_events, deadline,
    created_at, kind, deployment, destination, priority, public_url"""
VALUES: Final = """id, account_id, model, version, queue, gateway, source, input::json, webhook,
    string_to_array(webhook_events, ','), deadline, created_at, kind, deployment, destination, priority,
    public_url"""
ARRAYS: Final = (
    "$1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], "
    "$10::text[], $11::timestamptz[], $12::timestamptz[], $13::text[], $14::text[], $15::text[], $16::smallint[], "
    "$17::text[]"
)
WIDTH: Final = 17
# ON CONFLICT: a flush whose answer got lost is repeated as it is.
INSERT: Final = f"""
INSERT INTO prediction ({COLUMNS}) SELECT {VALUES} FROM unnest({ARRAYS}) AS r ({COLUMNS})
ON CONFLICT (id) DO NOTHING"""  # noqa: S608 - our own constants


class Acceptor:
    """Writes predictions and publishes their jobs."""

    def __init__(self, lane: Lane, bus: Bus, gateway: str, timeout_s: float) -> None:
        self._lane = lane
        self._bus = bus
        self._gateway = gateway
        self._timeout_s = timeout_s
        self._batcher: Batcher[Accepted, None] = Batcher(self._insert)
        self._warm: frozenset[str] = frozenset()

    async def accept(self, prediction: Accepted) -> None:
        """Returns when the row is committed and its job is on its way. Raises one of db.AWAY."""
        await self._batcher.add(prediction)

    async def accept_together(self, predictions: Sequence[Accepted]) -> None:
        """As `accept`, for predictions that are accepted in one statement: all of them or none."""
        await self._insert(predictions)

    async def on_warm(self, warm: Warm) -> None:
        self._warm = frozenset(warm.queues)

    def is_warm(self, queue: str) -> bool:
        """Whether it has a ready instance, as far as the scheduler has told."""
        return queue in self._warm

    async def drained(self) -> None:
        await self._batcher.drained()

    async def _insert(self, batch: Sequence[Accepted]) -> Sequence[None]:
        rows = columns([self.row(prediction) for prediction in batch], WIDTH)
        await insistently("accept", lambda: self._lane.fetch(INSERT, *rows), give_up_s=self._timeout_s)
        await self.publish(batch)
        return [None] * len(batch)

    def row(self, p: Accepted) -> tuple[object, ...]:
        """What goes into COLUMNS."""
        return (
            p.id,
            p.account_id,
            p.model,
            p.version,
            p.queue,
            self._gateway,
            p.source,
            p.input.decode(),
            p.webhook,
            None if p.webhook_events is None else ",".join(p.webhook_events),
            None if p.deadline is None else at(p.deadline),
            at(p.created_at),
            p.kind,
            p.deployment,
            p.destination,
            p.priority,
            p.public_url,
        )

    async def publish(self, predictions: Sequence[Accepted]) -> None:
        """Tells workers of committed predictions. What gets lost is found by the sweep."""
        for prediction in predictions:
            await self._publish(prediction)

    async def _publish(self, p: Accepted) -> None:
        job = Job(
            id=p.id,
            attempt=1,
            account=p.account_id,
            gateway=self._gateway,
            input=msgspec.Raw(p.input) if len(p.input) <= INLINE_INPUT_LIMIT_BYTES else msgspec.UNSET,
            created_at=p.created_at,
            deadline=p.deadline,
            webhook=p.webhook is not None,
            traceparent=p.traceparent,
            priority=p.priority,
        )
        try:
            if p.priority:  # before its hint, so that workers know when the hints before it come
                await self._bus.send(subjects.URGENT, Urgent(queue=p.queue, account=p.account_id))
            await self._bus.send_bytes(subjects.job(p.queue), encode(job))
            if p.queue not in self._warm:
                await self._bus.send(subjects.DEMAND, Demand(queue=p.queue))
        except nats.errors.Error:
            return  # the bus is away; the row is there, and the sweep will publish the job
