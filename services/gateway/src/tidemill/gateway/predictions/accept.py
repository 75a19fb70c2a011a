"""Accepts predictions: concurrent requests share one INSERT and one commit.

Accepted means committed. The job published afterwards is only a hint; if it is lost, the sweep finds the row.
"""

from collections.abc import Sequence

import msgspec
import nats

from tidemill.contracts import subjects
from tidemill.contracts.events import Demand, Job, PriorityWaiting, WarmQueues
from tidemill.contracts.limits import INLINE_INPUT_LIMIT_BYTES
from tidemill.gateway.accepted import Accepted
from tidemill.runtime.batch import Batcher
from tidemill.runtime.bus import Bus, encode
from tidemill.runtime.db import DedicatedConnection, retry_transient
from tidemill.runtime.predictions.acceptance import accept


class Acceptor:
    """Writes predictions and publishes their jobs."""

    def __init__(self, connection: DedicatedConnection, bus: Bus, gateway: str, timeout_s: float) -> None:
        self._connection = connection
        self._bus = bus
        self.gateway = gateway
        self._timeout_s = timeout_s
        self._batcher: Batcher[Accepted, None] = Batcher(self._insert)
        self._warm: frozenset[str] = frozenset()

    async def accept(self, prediction: Accepted) -> None:
        """Return when the row is committed and its job is published. Raise one of db.TRANSIENT_ERRORS."""
        await self._batcher.add(prediction)

    async def accept_together(self, predictions: Sequence[Accepted]) -> None:
        """Accept several predictions in one statement: all or none."""
        await self._insert(predictions)

    async def on_warm(self, warm: WarmQueues) -> None:
        self._warm = frozenset(warm.queues)

    def is_warm(self, queue: str) -> bool:
        """Return whether the queue has a ready instance, by the scheduler's last report."""
        return queue in self._warm

    async def drained(self) -> None:
        await self._batcher.drained()

    async def _insert(self, batch: Sequence[Accepted]) -> Sequence[None]:
        await retry_transient(
            "accept", lambda: accept(self._connection, self.gateway, batch), give_up_s=self._timeout_s
        )
        await self.publish(batch)
        return [None] * len(batch)

    async def publish(self, predictions: Sequence[Accepted]) -> None:
        """Publish the jobs of committed predictions. The sweep finds those that get lost."""
        for prediction in predictions:
            await self._publish(prediction)

    async def _publish(self, p: Accepted) -> None:
        job = Job(
            id=p.id,
            attempt=1,
            account=p.account_id,
            gateway=self.gateway,
            input=msgspec.Raw(p.input) if len(p.input) <= INLINE_INPUT_LIMIT_BYTES else msgspec.UNSET,
            created_at=p.created_at,
            deadline=p.deadline,
            webhook=p.webhook is not None,
            traceparent=p.traceparent,
            priority=p.priority,
        )
        try:
            if p.priority:  # before its job, so that workers know of it when earlier jobs arrive
                await self._bus.send(subjects.PRIORITY_WAITING, PriorityWaiting(queue=p.queue, account=p.account_id))
            await self._bus.send_bytes(subjects.job(p.queue), encode(job))
            if p.queue not in self._warm:
                await self._bus.send(subjects.DEMAND, Demand(queue=p.queue))
        except nats.errors.Error:
            return  # the bus is down; the sweep publishes the job later
