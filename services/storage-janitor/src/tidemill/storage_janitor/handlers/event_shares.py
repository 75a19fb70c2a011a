"""Keeps a few accounts from filling the event stream, and records what their consumers miss."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from prometheus_client import Counter

from tidemill.contracts.subjects import KINDS, Kind
from tidemill.runtime.db import Row
from tidemill.runtime.streams import account_shares
from tidemill.runtime.streams.account_shares import SampledEvent, StreamUsage
from tidemill.runtime.telemetry import log
from tidemill.storage_janitor import fair_shares, store_events
from tidemill.storage_janitor.step_context import StepContext
from tidemill.storage_janitor.store_events import MissedEvents

TRIMMED: Final = Counter("tidemill_janitor_trimmed_events_total", "Events beyond their account's share of the stream")


async def trim(context: StepContext) -> None:
    """If the stream is nearly full, remove the oldest events of accounts that hold more than their share."""
    stream = await account_shares.usage(context.bus)
    if not fair_shares.needs_trim(stream.bytes, stream.limit_bytes):
        return
    counts = await account_shares.counts(context.bus)
    samples = await account_shares.samples(context.bus, stream, counts)
    held = fair_shares.estimate_sizes(counts, samples, stream.bytes)
    for account, keep in fair_shares.kept_fractions(held, stream.limit_bytes).items():
        if context.leader.held:
            await _trim_account(context, account, stream, keep)


class _ConsumerPosition(NamedTuple):
    """A durable consumer of an account: its position in the stream, and the first event after it."""

    id: str
    kinds: Sequence[Kind]
    position: int
    next: SampledEvent | None


async def _trim_account(context: StepContext, account: str, stream: StreamUsage, keep: float) -> None:
    below = await account_shares.boundary(context.bus, account, stream, keep)
    consumers = [
        await _consumer(context, account, row) for row in await store_events.consumers(context.database, account)
    ]
    purged = await _purge(context, account, account_shares.cuts((each.position for each in consumers), below))
    until = await account_shares.first(context.bus, account, KINDS, below)
    for each in consumers:
        count = sum(purged[kind, cut] for kind, cut in purged if kind in each.kinds and cut > each.position + 1)
        if count and each.next is not None:
            moment = each.next.moment
            await store_events.record_missed(
                context.database, MissedEvents(each.id, count, moment, until.moment if until else moment)
            )


async def _consumer(context: StepContext, account: str, row: Row) -> _ConsumerPosition:
    position = await account_shares.position(context.bus, row["id"])
    following = await account_shares.first(context.bus, account, row["kinds"], position + 1)
    return _ConsumerPosition(row["id"], row["kinds"], position, following)


async def _purge(context: StepContext, account: str, cuts: Sequence[int]) -> dict[tuple[Kind, int], int]:
    """Purge events up to each cut. Return how many each cut removed."""
    purged = {
        (kind, cut): await account_shares.purge(context.bus, account, kind, cut) for kind in KINDS for cut in cuts
    }
    count = sum(purged.values())
    TRIMMED.inc(count)
    log().info("trimmed", action="remove", kind="events", account=account, count=count)
    return purged
