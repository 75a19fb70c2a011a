"""Each account's share of the stream of lifecycle events, and the removal of one account's oldest events.

JetStream counts the messages of a subject, not their bytes, and limits only a stream as a whole. So the bytes of an
account are estimated from samples of its messages, and events beyond its share are purged by subject and sequence. This
costs many requests, so it is done only when the stream is nearly full. All functions raise nats.errors.Error or
TimeoutError while NATS cannot be reached.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from tidemill.contracts import subjects
from tidemill.contracts.subjects import KINDS, PREDICTIONS, Kind
from tidemill.runtime.bus import Bus

ANSWER_WITHIN_S: Final = 10.0  # purges of many messages take a while
SAMPLES: Final = 100  # messages of the whole stream, evenly spread
LARGEST: Final = 20  # accounts with the most events, and as many with the largest ones, that are sampled more
ACCOUNT_SAMPLES: Final = 12
FORGOTTEN_AFTER_S: Final = 5.0  # then NATS drops a consumer made for counting, if its deletion was lost
MESSAGE_OVERHEAD_BYTES: Final = 34  # that NATS's file store adds to each message


class StreamUsage(NamedTuple):
    """The stream's size and limit; `first` and `last` are sequences."""

    bytes: int
    limit_bytes: int
    first: int
    last: int


class SampledEvent(NamedTuple):
    sequence: int
    account: str
    size: int
    moment: datetime


class _InfoRequest(msgspec.Struct, omit_defaults=True):
    subjects_filter: str = ""
    offset: int = 0


class _State(msgspec.Struct):
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    num_subjects: int = 0
    subjects: dict[str, int] = {}


class _Limits(msgspec.Struct):
    max_bytes: int = 0


class _InfoReply(msgspec.Struct):
    """All zero when the answer is an error."""

    state: _State = msgspec.field(default_factory=_State)
    config: _Limits = msgspec.field(default_factory=_Limits)
    total: int = 0


class _PurgeRequest(msgspec.Struct):
    filter: str
    seq: int


class _PurgeReply(msgspec.Struct):
    success: bool = False
    purged: int = 0


async def usage(bus: Bus) -> StreamUsage:
    info = await _info(bus, _InfoRequest())
    return StreamUsage(info.state.bytes, info.config.max_bytes, info.state.first_seq, info.state.last_seq)


async def counts(bus: Bus) -> dict[str, int]:
    """Return the number of events by account."""
    by_account: Counter[str] = Counter()
    offset, total = 0, 1
    while offset < total:
        info = await _info(bus, _InfoRequest(subjects_filter=">", offset=offset))
        for subject, count in info.state.subjects.items():
            by_account[subjects.account_of_event(subject)] += count
        if not info.state.subjects:
            break
        offset, total = offset + len(info.state.subjects), max(info.total, info.state.num_subjects)
    return dict(by_account)


async def samples(bus: Bus, stream: StreamUsage, by_account: dict[str, int]) -> dict[str, list[int]]:
    """Return the sizes of some events by account, of the accounts that may hold many bytes."""
    found: dict[str, list[int]] = defaultdict(list)
    for sequence in _spread(stream, SAMPLES):
        read = await _first(bus, ">", sequence)
        if read is not None:
            found[read.account].append(read.size)
    by_size = sorted(found, key=lambda account: -max(found[account]))[:LARGEST]
    by_count = sorted(by_account, key=lambda account: -by_account[account])[:LARGEST]
    for account in {*by_size, *by_count}:
        for sequence in _spread(stream, ACCOUNT_SAMPLES):
            read = await first(bus, account, KINDS, sequence)
            found[account] += [] if read is None else [read.size]
    return found


async def first(bus: Bus, account: str, kinds: Iterable[Kind], sequence: int) -> SampledEvent | None:
    """Return the account's first event of these kinds at or after a sequence, or None."""
    found = [await _first(bus, subjects.events_of(account, kind), sequence) for kind in kinds]
    return min((each for each in found if each is not None), key=lambda each: each.sequence, default=None)


async def _first(bus: Bus, subject: str, sequence: int) -> SampledEvent | None:
    try:
        message = await bus.jetstream.get_msg(PREDICTIONS.name, seq=sequence, subject=subject, next=True)
    except NotFoundError:
        return None
    name, headers = message.subject or "", message.headers or {}
    size = len(message.data or b"") + len(name) + sum(len(key) + len(value) + 4 for key, value in headers.items())
    assert message.seq is not None, "the server tells it"
    assert message.time is not None, "as above"
    return SampledEvent(message.seq, subjects.account_of_event(name), size + MESSAGE_OVERHEAD_BYTES, message.time)


async def boundary(bus: Bus, account: str, stream: StreamUsage, keep: float) -> int:
    """Return the sequence from which on lies this part (0 to 1) of an account's events, by binary search."""
    low, high = stream.first, stream.last + 1
    wanted = keep * await _count_from(bus, account, low)
    while high - low > 1:
        middle = (low + high) // 2
        if await _count_from(bus, account, middle) > wanted:
            low = middle
        else:
            high = middle
    return high


async def position(bus: Bus, consumer: str) -> int:
    """Return the last sequence delivered to a durable consumer, or 0 if NATS does not know the consumer."""
    try:
        info = await bus.jetstream.consumer_info(PREDICTIONS.name, subjects.consumer(consumer))
    except NotFoundError:
        return 0
    return info.delivered.stream_seq if info.delivered is not None else 0


async def purge(bus: Bus, account: str, kind: Kind, below: int) -> int:
    """Remove the account's events of a kind below a sequence. Return their number."""
    request = _PurgeRequest(subjects.events_of(account, kind), below)
    answer = await bus.ask(subjects.purge(PREDICTIONS), request, _PurgeReply, timeout_s=ANSWER_WITHIN_S)
    if answer is None or not answer.success:
        raise nats.errors.Error("the stream was not purged")
    return answer.purged


async def _info(bus: Bus, request: _InfoRequest) -> _InfoReply:
    answer = await bus.ask(subjects.info(PREDICTIONS), request, _InfoReply, timeout_s=ANSWER_WITHIN_S)
    if answer is None:
        raise nats.errors.Error("the stream says nothing of itself")
    return answer


async def _count_from(bus: Bus, account: str, sequence: int) -> int:
    """Return the number of an account's events from a sequence on."""
    config = ConsumerConfig(
        filter_subjects=[subjects.events_of(account, kind) for kind in KINDS],
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=sequence,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=FORGOTTEN_AFTER_S,
        mem_storage=True,
    )
    counting = await bus.jetstream.add_consumer(PREDICTIONS.name, config)
    await bus.jetstream.delete_consumer(PREDICTIONS.name, counting.name)
    return counting.num_pending or 0


def _spread(stream: StreamUsage, count: int) -> Sequence[int]:
    step = max((stream.last + 1 - stream.first) // count, 1)
    return range(max(stream.first, 1), stream.last + 1, step)


def cuts(positions: Iterable[int], below: int) -> list[int]:
    """Return the sequences up to which to purge one after the other, so that the events that each consumer misses are
    counted separately. Pure.
    """
    return sorted({position + 1 for position in positions if 0 < position < below - 1} | {below})
