"""The bus against a real NATS: messages that are handed over while they are read, errors there, and reconnection."""

import asyncio

import msgspec
import pytest

from tidemill.contracts import subjects
from tidemill.runtime.bus import DROPPED, Announcement, Bus
from tidemill.runtime.job_puller import JobPuller
from tidemill.stack import NatsServer
from tidemill.testing.running import until
from tidemill.testing.servers import started

SUBJECT = "fleet.test"


class Number(msgspec.Struct):
    value: int


@pytest.fixture(scope="session")
async def nats(tmp_path_factory):
    async with started(NatsServer(tmp_path_factory.mktemp("bus") / "nats")) as server:
        yield server


@pytest.fixture
async def bus(nats):
    async with Bus(nats.url, "test") as bus:
        yield bus


async def send(bus, *values):
    for value in values:
        await bus.send(SUBJECT, Number(value))


async def test_what_is_sent_in_one_turn_arrives_in_order(bus):
    heard = []
    await bus.listen_directly(SUBJECT, Number, lambda number: heard.append(number.value))
    await send(bus, *range(1000))
    await until("all numbers", lambda: len(heard) == 1000)
    assert heard == list(range(1000))


async def test_garbage_and_a_receiver_that_fails_end_nothing(bus):
    heard = []

    def hear(number):
        if number.value == 1:
            raise RuntimeError("this one is too much")
        heard.append(number.value)

    await bus.listen_directly(SUBJECT, Number, hear)
    await bus.send_bytes(SUBJECT, b"{")
    await send(bus, 0, 1, 2)
    await until("the numbers around it", lambda: heard == [0, 2])


async def test_what_the_first_does_not_take_goes_the_usual_way(bus):
    direct, usual = [], []

    def first(_subject, _reply, data):
        direct.append(data)
        return data != b"other"

    async def receive(message):
        usual.append(message.data)

    subscription = await bus.listen_raw(SUBJECT, receive, first=first)
    await bus.send_bytes(SUBJECT, b"mine")
    await bus.send_bytes(SUBJECT, b"other")
    await until("the other", lambda: usual == [b"other"])
    assert direct == [b"mine", b"other"]

    await subscription.unsubscribe()
    await bus.send_bytes(SUBJECT, b"late")
    await bus.announce([Announcement(subjects.output("p"), b"after it")])  # by then the late one would have come
    assert direct == [b"mine", b"other"]


async def test_direct_listeners_are_there_again_after_the_server_was_away(nats, bus):
    heard = []
    await bus.listen_directly(SUBJECT, Number, lambda number: heard.append(number.value))
    await nats.kill()
    await until("the bus to notice", lambda: not bus.connected)
    announced = asyncio.create_task(bus.announce([Announcement(subjects.output("p"), b"kept", {"ce-id": "1"})]))
    await nats.start()
    await asyncio.wait_for(announced, 120)
    await send(bus, 7)
    await until("a number", lambda: heard == [7])


async def test_hints_beyond_what_waits_for_a_server_that_is_away_are_dropped_and_counted(nats, bus):
    dropped = DROPPED.labels("away")
    before = dropped._value.get()
    await nats.kill()
    await until("the bus to notice", lambda: not bus.connected)
    for _ in range(5):
        await bus.send_bytes(SUBJECT, bytes(1_000_000))
    assert dropped._value.get() > before
    await nats.start()
    await until("the bus to be back", lambda: bus.connected)


async def test_a_puller_that_starts_while_the_server_is_away_pulls_when_it_is_back(nats, bus):
    pulled = []
    await nats.kill()
    await until("the bus to notice", lambda: not bus.connected)
    puller = JobPuller(bus, "early", lambda payload, _: pulled.append(payload))
    await puller.start()
    await puller.want(1)
    await nats.start()
    await until("the bus to be back", lambda: bus.connected)
    await bus.announce([Announcement(subjects.job("early"), b"a job")])
    await until("the job", lambda: pulled == [b"a job"])
    await puller.stop()


async def test_a_large_window_reaches_the_stream_whole(bus):
    window = [Announcement(subjects.output("large"), bytes(50_000), {"ce-id": str(i)}) for i in range(200)]
    await bus.announce(window)
    stream = await bus.jetstream.stream_info(subjects.OUTPUT.name, subjects_filter=subjects.output("large"))
    assert stream.state.subjects == {subjects.output("large"): 200}
