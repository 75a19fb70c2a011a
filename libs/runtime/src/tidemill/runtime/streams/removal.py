"""Removal of a prediction's messages from the streams before they reach the streams' maximum age.

Live output has a subject for each prediction. Lifecycle events have one for each account: those of one prediction are
found by their CloudEvents ids, and those of a time by their arrival. Best effort: what is missed here is removed when
the retention is over.
"""

import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

from tidemill.contracts import subjects
from tidemill.contracts.subjects import KINDS, OUTPUT, PREDICTIONS, Kind
from tidemill.runtime.bus import Bus

SCAN_LIMIT: Final = 20_000  # events of an account that are read to find those of one prediction
NEXT_S: Final = 2.0  # for one event; a healthy server sends thousands in that time
CLOCKS: Final = timedelta(seconds=30)  # the clocks of the server and of the writers differ by less

FAILURES: Final = (nats.errors.Error, TimeoutError)


class ArrivalTime(NamedTuple):
    """Events that arrived between two moments; `until` None: up to now."""

    since: datetime
    until: datetime | None = None


async def remove_output(bus: Bus, prediction_id: str) -> None:
    """Remove the prediction's live output. Raise one of FAILURES."""
    await bus.jetstream.purge_stream(OUTPUT.name, subject=subjects.output(prediction_id))


async def remove_events(bus: Bus, account: str, kind: Kind, prediction_id: str, moments: list[datetime]) -> None:
    """Remove the prediction's events; `moments` are when it changed its state. Raise one of FAILURES."""
    for moment in moments:
        span = ArrivalTime(moment - CLOCKS, moment + CLOCKS)
        async with contextlib.aclosing(_events(bus, subjects.events_of(account, kind), span)) as events:
            async for event in events:
                if (event.headers or {}).get("ce-id", "").startswith(f"{prediction_id}-"):
                    with contextlib.suppress(APIError):  # removed by another process meanwhile
                        await bus.jetstream.delete_msg(PREDICTIONS.name, event.metadata.sequence.stream)


async def remove_events_before(bus: Bus, account: str, moment: datetime) -> None:
    """Remove all events of the account that arrived before the moment. Raise one of FAILURES."""
    for kind in KINDS:
        subject = subjects.events_of(account, kind)
        behind = (await bus.jetstream.stream_info(PREDICTIONS.name)).state.last_seq + 1
        async with contextlib.aclosing(_events(bus, subject, ArrivalTime(moment))) as events:
            first = await anext(events, None)
        if first is not None:
            behind = first.metadata.sequence.stream
        await bus.jetstream.purge_stream(PREDICTIONS.name, seq=behind, subject=subject)


async def _events(bus: Bus, subject: str, span: ArrivalTime) -> AsyncGenerator[Any, None]:
    """Yield the headers of events in their order, at most SCAN_LIMIT of them."""
    subscription: Any = await bus.jetstream.subscribe(
        subject,
        stream=PREDICTIONS.name,
        ordered_consumer=True,
        config=ConsumerConfig(
            headers_only=True,
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=span.since,
            mem_storage=True,
        ),
    )
    try:
        info = await subscription.consumer_info()
        for _ in range(min(info.delivered.consumer_seq + info.num_pending, SCAN_LIMIT)):
            event = await subscription.next_msg(timeout=NEXT_S)
            if span.until is not None and event.metadata.timestamp > span.until:
                return
            yield event
            if event.metadata.num_pending == 0:
                return
    finally:
        await subscription.unsubscribe()
