"""A heavy account's events make no other's go, and its own durable consumers are told what they missed."""

import msgspec
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.runtime.bus import Bus
from tidemill.runtime.predictions import announcements
from tidemill.runtime.streams import account_shares
from tidemill.storage_janitor.fair_shares import TRIM_ABOVE, TRIM_TO
from tidemill.storage_janitor.handlers import event_shares

LIMIT_BYTES = 512 * 1024
KINDS = ["prediction", "training"]


@pytest.fixture
async def stream(context, config):
    """The stream is small while the test goes on."""
    async with Bus(config.nats_url, "test", events_bytes=LIMIT_BYTES) as bus:
        yield bus
    async with Bus(config.nats_url, "test"):
        pass


@pytest.fixture
async def consumer(context, stream):
    async def make(account, kinds=KINDS):
        identifier = new_id()
        await context.database.execute(
            "INSERT INTO event_consumer (id, account_id, name, kinds) VALUES ($1, $2, $1, $3)",
            identifier,
            account,
            kinds,
        )
        config = ConsumerConfig(
            durable_name=subjects.consumer(identifier),
            filter_subjects=[subjects.events_of(account, kind) for kind in kinds],
            ack_policy=AckPolicy.EXPLICIT,
        )
        await stream.jetstream.add_consumer(subjects.PREDICTIONS.name, config)
        return identifier

    return make


async def announce(bus, account, count, kind="prediction", output=b'"x"'):
    made = [
        Lifecycle(
            id=new_id(), account=account, model="a/b", version="v", status=Status.SUCCEEDED, output=msgspec.Raw(output)
        )
        for _ in range(count)
    ]
    await bus.announce([announcements.announcement(each, "completed", "g", kind) for each in made])


async def take(bus, consumer, most):
    """Pulls and acknowledges; how many came."""
    js = bus.jetstream
    pulling = await js.pull_subscribe_bind(consumer=subjects.consumer(consumer), stream=subjects.PREDICTIONS.name)
    messages = await pulling.fetch(most, timeout=5)
    for message in messages:
        await message.ack_sync()
    await pulling.unsubscribe()
    return len(messages)


async def missed(context, consumer):
    return await context.database.row(
        "SELECT missed, missed_since, missed_until FROM event_consumer WHERE id = $1", consumer
    )


async def fill(bus, account, **event):
    """Announces of one account until the mark is passed."""
    count = 0
    while (await account_shares.usage(bus)).bytes <= LIMIT_BYTES * TRIM_ABOVE:
        await announce(bus, account, 50, **event)
        count += 50
    return count


async def test_a_heavy_account_pushes_no_others_events_out(context, stream, world):
    for account in ("heavy", "light"):
        await world.account(account)
    await announce(stream, "light", 20)
    filled = 0
    for _ in range(4):  # several times what fits
        filled += await fill(stream, "heavy")
        await event_shares.trim(context)
        held = await account_shares.usage(stream)
        assert held.bytes <= LIMIT_BYTES * TRIM_ABOVE
    counts = await account_shares.counts(stream)
    assert counts["light"] == 20
    assert 0 < counts["heavy"] < filled


async def test_without_shares_one_account_does_push_the_others_out(stream):
    """The control: the stream as JetStream alone bounds it."""
    await announce(stream, "light", 20)
    for _ in range(30):
        await announce(stream, "heavy", 100)
    assert "light" not in await account_shares.counts(stream)


async def test_few_large_events_weigh_as_much_as_many_small_ones(context, stream):
    await announce(stream, "small", 100)
    await fill(stream, "large", output=b'"' + b"x" * 8000 + b'"')
    before = (await account_shares.counts(stream))["large"]
    await event_shares.trim(context)
    counts = await account_shares.counts(stream)
    assert counts["small"] == 100
    assert counts["large"] < before
    assert (await account_shares.usage(stream)).bytes == pytest.approx(LIMIT_BYTES * TRIM_TO, rel=0.15)


async def test_nothing_is_removed_while_there_is_room(context, stream):
    await announce(stream, "a", 100)
    await event_shares.trim(context)
    assert await account_shares.counts(stream) == {"a": 100}


async def test_durable_consumers_are_told_exactly_what_they_missed_and_since_when(context, stream, world, consumer):
    for account in ("heavy", "light"):
        await world.account(account)
    away, behind, level, other = [await consumer(each) for each in ("heavy", "heavy", "heavy", "light")]
    trainings = await consumer("heavy", ["training"])
    await announce(stream, "light", 5)
    await announce(stream, "heavy", 10, "training")
    filled = 10 + await fill(stream, "heavy")
    assert await take(stream, behind, 30) == 30
    while await take(stream, level, 100) == 100:
        pass
    await event_shares.trim(context)
    left = (await account_shares.counts(stream))["heavy"]
    gone = filled - left
    assert gone > 30
    assert (await missed(context, away))["missed"] == gone
    assert (await missed(context, behind))["missed"] == gone - 30
    assert (await missed(context, trainings))["missed"] == 10
    assert tuple(await missed(context, level)) == tuple(await missed(context, other)) == (0, None, None)
    row = await missed(context, away)
    first = await account_shares.first(stream, "heavy", KINDS, 1)
    assert row["missed_since"] < row["missed_until"] == first.moment
    assert await take(stream, away, left + 10) == left

    await fill(stream, "heavy")
    await event_shares.trim(context)  # `away` has all by now that was there
    again = await missed(context, away)
    assert again["missed"] >= gone
    assert again["missed_since"] == row["missed_since"]


async def test_a_janitor_that_does_not_lead_removes_nothing(context, stream):
    await fill(stream, "heavy")
    before = await account_shares.counts(stream)
    context.leader.held = False
    await event_shares.trim(context)
    assert await account_shares.counts(stream) == before
