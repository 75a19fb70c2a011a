import asyncio
import json
import time
from urllib.parse import urlsplit

import msgspec
import pytest
import structlog

from tidemill.contracts import subjects
from tidemill.contracts.events import DoneChunk, LogsChunk, OutputChunk, ResetChunk
from tidemill.contracts.prediction import Status
from tidemill.gateway.handlers import streams as streams_handler
from tidemill.gateway.main import build
from tidemill.gateway.responses import stream_urls
from tidemill.runtime.bus import CONSUMERS_LIMIT, Announcement, encode
from tidemill.security.delivery_urls import delivery_url
from tidemill.testing import rows
from tidemill.testing.ports import OwnPort
from tidemill.testing.running import until


@pytest.fixture
async def running(gateway, alice):
    """A prediction that runs, and the path of its stream."""
    identifier = await rows.prediction(gateway.parts.database, account_id=alice.id, status="processing")
    url = stream_urls.url(gateway.parts, gateway.url, identifier, time.time())
    return identifier, url


async def publish(gateway, identifier, *chunks):
    await gateway.parts.bus.announce([Announcement(subjects.output(identifier), encode(chunk)) for chunk in chunks])


async def end(gateway, identifier, status="succeeded", output=None, logs="", error=None):
    await gateway.parts.database.execute(
        "UPDATE prediction SET status = $2, output = $3, logs = $4, error = $5, completed_at = now() WHERE id = $1",
        identifier,
        status,
        None if output is None else json.dumps(output),
        logs,
        error,
    )


async def read(gateway, url, headers=None):
    """All events until the server ends the stream, as (event, data); and their ids."""
    async with gateway.http.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        return parse(await response.text())


def parse(text):
    events, ids = [], []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            fields = {name: value for name, _, value in lines}
            events.append((fields["event"], "\n".join(value for name, _, value in lines if name == "data")))
            ids.append(fields["id"])
    return events, ids


def out(seq, value, attempt=1):
    return OutputChunk(attempt=attempt, seq=seq, value=msgspec.Raw(json.dumps(value).encode()))


async def test_live_from_the_first_chunk_on(gateway, running):
    identifier, url = running
    await publish(gateway, identifier, out(0, "Hello"))
    readers = [asyncio.create_task(read(gateway, url)) for _ in range(50)]
    await publish(gateway, identifier, LogsChunk(attempt=1, seq=1, text="a\nb\n"), out(2, " wor\nld"), out(3, {"a": 1}))
    await publish(gateway, identifier, DoneChunk(attempt=1, seq=4, status=Status.SUCCEEDED))
    expected = [("output", "Hello"), ("logs", "a\nb\n"), ("output", " wor\nld"), ("output", '{"a":1}'), ("done", "{}")]
    for events, ids in await asyncio.wait_for(asyncio.gather(*readers), 120):
        assert events == expected
        assert [each.partition(":")[2] for each in ids] == ["1.1.0", "1.1.4", "1.2.4", "1.3.4", "1.3.4.2"]
    assert not gateway.parts.feeds._feeds


async def test_an_end_without_a_last_chunk_comes_from_the_row(gateway, running):
    identifier, url = running
    await publish(gateway, identifier, out(0, "a"), out(1, "b"))
    reader = asyncio.create_task(read(gateway, url))
    await end(gateway, identifier, output=["a", "b", "c"], logs="said\n")
    events, _ = await asyncio.wait_for(reader, 120)
    assert sorted(events[:-1]) == [("logs", "said\n"), ("output", "a"), ("output", "b"), ("output", "c")]
    assert events[-1] == ("done", "{}")


@pytest.mark.parametrize("stream", subjects.STREAMS, ids=lambda stream: stream.name)
async def test_a_stream_takes_more_consumers_than_a_server_allows_by_itself(gateway, stream):
    told = await gateway.parts.bus.jetstream.stream_info(stream.name)
    assert told.config.max_consumers == CONSUMERS_LIMIT


async def test_a_past_that_cannot_be_read_is_asked_for_again(gateway, running):
    identifier, url = running
    jetstream = gateway.parts.bus.jetstream
    config = (await jetstream.stream_info(subjects.OUTPUT.name)).config
    await publish(gateway, identifier, out(0, "Hello"))
    await jetstream.update_stream(config.evolve(allow_direct=False))
    try:
        reader = asyncio.create_task(read(gateway, url))
        await feed_that(gateway, lambda feed: feed.loaded.is_set())
    finally:
        await jetstream.update_stream(config)
    await feed_that(gateway, lambda feed: feed.transcript.events)
    await publish(gateway, identifier, DoneChunk(attempt=1, seq=1, status=Status.SUCCEEDED))
    events, _ = await asyncio.wait_for(reader, 120)
    assert events == [("output", "Hello"), ("done", "{}")]


@pytest.fixture
def missed(gateway, running, monkeypatch):
    """Numbers of chunks that this gateway does not hear."""
    lost, heard = set(), gateway.parts.bus.listen_raw

    async def hard_of_hearing(_bus, subject, receive, **more):
        async def some(message):
            if subject != subjects.output(running[0]) or msgspec.json.decode(message.data).get("seq", 0) not in lost:
                await receive(message)

        return await heard(subject, some, **more)

    monkeypatch.setattr(type(gateway.parts.bus), "listen_raw", hard_of_hearing)
    return lost


async def feed_that(gateway, check):
    while not any(check(feed) for feed in gateway.parts.feeds._feeds.values()):
        await asyncio.sleep(0.02)


THREE = [("output", "0"), ("output", "1"), ("output", "2"), ("done", "{}")]


async def put_out_three(gateway, identifier):
    await publish(gateway, identifier, *(out(seq, str(seq)) for seq in range(3)))
    await publish(gateway, identifier, DoneChunk(attempt=1, seq=3, status=Status.SUCCEEDED))


@pytest.mark.parametrize("lost", [{1}, {1, 2}, {3}, {0, 1, 2, 3}])
async def test_what_was_missed_is_read_from_the_stream(gateway, running, missed, lost):
    """A chunk may be delivered before this gateway hears, and kept after it has read."""
    missed |= lost
    reader = asyncio.create_task(read(gateway, running[1]))
    await feed_that(gateway, lambda feed: feed.loaded.is_set())
    await put_out_three(gateway, running[0])
    events, _ = await asyncio.wait_for(reader, 120)
    assert events == THREE


async def test_what_came_while_the_bus_was_away_is_read_when_it_is_back(gateway, running, missed):
    missed |= {0, 1, 2, 3}
    reader = asyncio.create_task(read(gateway, running[1]))
    await feed_that(gateway, lambda feed: feed.is_reread)
    await put_out_three(gateway, running[0])
    await gateway.parts.bus._on_reconnected()
    events, _ = await asyncio.wait_for(reader, 120)
    assert events == THREE


async def test_a_long_past_comes_in_batches(gateway, running, monkeypatch):
    monkeypatch.setattr("tidemill.gateway.live.stored_messages.BATCH", 3)
    identifier, url = running
    await publish(gateway, identifier, *(out(seq, str(seq)) for seq in range(10)))
    await publish(gateway, identifier, DoneChunk(attempt=1, seq=10, status=Status.SUCCEEDED))
    events, _ = await asyncio.wait_for(read(gateway, url), 120)
    assert events == [*(("output", str(seq)) for seq in range(10)), ("done", "{}")]


async def test_a_lost_chunk_makes_no_hole(gateway, running):
    identifier, url = running
    await publish(gateway, identifier, out(0, "a"), out(2, "c"), DoneChunk(attempt=1, seq=3, status=Status.SUCCEEDED))
    reader = asyncio.create_task(read(gateway, url))
    while identifier not in gateway.parts.feeds._feeds:
        await asyncio.sleep(0.01)
    await end(gateway, identifier, output=["a", "b", "c"])
    events, _ = await asyncio.wait_for(reader, 120)
    assert events == [("output", "a"), ("output", "b"), ("output", "c"), ("done", "{}")]


async def test_another_attempt_goes_on(gateway, running):
    identifier, url = running
    await publish(gateway, identifier, out(0, "a"), ResetChunk(attempt=2, seq=0), out(0, "b", 2), out(1, "late"))
    await publish(gateway, identifier, DoneChunk(attempt=2, seq=1, status=Status.FAILED, error="boom"))
    events, _ = await asyncio.wait_for(read(gateway, url), 120)
    assert events == [("output", "a"), ("output", "b"), ("error", '{"detail":"boom"}'), ("done", '{"reason":"error"}')]


@pytest.mark.parametrize(
    ("status", "output", "expected"),
    [
        ("succeeded", ["x", 1], [("logs", "l"), ("output", "x"), ("output", "1"), ("done", "{}")]),
        ("succeeded", "whole", [("logs", "l"), ("output", "whole"), ("done", "{}")]),
        ("canceled", None, [("logs", "l"), ("done", '{"reason":"canceled"}')]),
        ("aborted", None, [("logs", "l"), ("done", '{"reason":"canceled"}')]),
        ("failed", None, [("logs", "l"), ("error", '{"detail":"e"}'), ("done", '{"reason":"error"}')]),
    ],
)
async def test_what_has_ended_is_replayed(gateway, running, status, output, expected):
    identifier, url = running
    await end(gateway, identifier, status, output, "l", "e" if status == "failed" else None)
    assert (await read(gateway, url))[0] == expected


async def test_streams_of_files_have_a_path_of_their_own(gateway, running):
    identifier, url = running
    await end(gateway, identifier, output="x")
    assert await read(gateway, url.replace("/v1/streams/", "/v1/files/streams/")) == await read(gateway, url)


async def test_going_on_after_the_last_event(gateway, running):
    identifier, url = running
    await end(gateway, identifier, output=["a", "b", "c"])
    events, ids = await read(gateway, url)
    for index in range(len(events) - 1):
        assert (await read(gateway, url, {"Last-Event-ID": ids[index]}))[0] == events[index + 1 :]
    async with gateway.http.get(url, headers={"Last-Event-ID": ids[-1]}) as response:
        assert response.status == 204


async def test_files_follow_the_client(gateway, running):
    identifier, url = running
    await gateway.parts.objects.put("outputs/s/x.png", b"png", "image/png")
    key, base = gateway.parts.signing_key, gateway.url
    file = delivery_url(key, base, "outputs/s/x.png", int(time.time()) + 60)
    await end(gateway, identifier, output=[file])
    assert (await read(gateway, url))[0][0] == ("output", file)
    events, _ = await read(gateway, url, {"User-Agent": "replicate-python/1.0.7"})
    assert events[0] == ("output", "data:image/png;base64,cG5n")


async def test_a_silent_stream_says_that_it_is_there(gateway, running):
    identifier, url = running
    async with gateway.http.get(url) as response:
        assert await response.content.readexactly(4) == b": \n\n"
        await gateway.parts.feeds.send_heartbeats()  # nothing yet: it has just spoken
        for _ in range(3):
            await gateway.parts.feeds.send_heartbeats()
            assert await response.content.readexactly(4) == b": \n\n"
        await publish(gateway, identifier, out(0, "a"))
        assert (await response.content.readuntil(b"\n\n")).startswith(b"event: output\n")


async def test_streams_end_with_the_gateway_when_what_looks_after_them_dies(servers, gateway, alice, monkeypatch):
    """Else they would stay open with nobody to end them."""
    monkeypatch.setattr("tidemill.gateway.stores.predictions._ENDED", "SELECT 1 / 0 AS id WHERE $1::text[] IS NOT NULL")
    port = OwnPort()
    service = await build(msgspec.structs.replace(servers, port=port.number, ops_port=port.number + 1))
    running = asyncio.create_task(service.run())
    await until("the gateway", lambda: running.done() or not service.not_ready())
    identifier = await rows.prediction(gateway.parts.database, account_id=alice.id, status="processing")
    url = stream_urls.url(gateway.parts, gateway.url, identifier, time.time())
    with structlog.testing.capture_logs() as logs:
        async with gateway.http.get(f"http://127.0.0.1:{port.number}/v1{url.partition('/v1')[2]}") as response:
            async with asyncio.timeout(60):
                assert (await response.read()).startswith(b": \n\n")
        assert await running == 1
    assert "stream poll" in {each.get("task") for each in logs}


async def test_clients_that_vanish_leave_nothing(gateway, running):
    identifier, url = running
    async with gateway.http.get(url) as response:
        assert await response.content.readexactly(4) == b": \n\n"
        assert identifier in gateway.parts.feeds._feeds
        response.close()
    async with asyncio.timeout(120):
        while identifier in gateway.parts.feeds._feeds:
            await gateway.parts.feeds.send_heartbeats()
            await asyncio.sleep(0.02)


async def test_bad_urls(gateway, running):
    identifier, url = running
    expired = stream_urls.url(gateway.parts, gateway.url, identifier, 0)
    await gateway.parts.database.execute("UPDATE prediction SET data_removed = true WHERE id = $1", identifier)
    for bad in (url, url[:-1] + "a", f"{gateway.url}/v1/streams/x", expired):
        async with gateway.http.get(bad) as response:
            assert response.status == 404


@pytest.fixture
async def other(servers, start_gateway):
    async with start_gateway(servers) as gateway:
        yield gateway


async def test_what_breaks_off_at_one_gateway_goes_on_at_another(gateway, other, running):
    identifier, url = running
    elsewhere = url.replace(gateway.url, other.url)
    await publish(gateway, identifier, out(0, "a"), LogsChunk(attempt=1, seq=1, text="one\n"), out(2, "b"))
    async with gateway.http.get(url) as response:
        text = b""
        while text.count(b"event: ") < 3:
            text += await response.content.readany()
        events, ids = parse(text.decode())
    rest = asyncio.create_task(read(other, elsewhere, {"Last-Event-ID": ids[-1]}))
    from_logs = asyncio.create_task(read(other, elsewhere, {"Last-Event-ID": ids[1]}))
    await publish(gateway, identifier, LogsChunk(attempt=1, seq=3, text="two\n"), out(4, "c"))
    await publish(gateway, identifier, DoneChunk(attempt=1, seq=5, status=Status.SUCCEEDED))
    expected = [("logs", "two\n"), ("output", "c"), ("done", "{}")]
    assert (await asyncio.wait_for(rest, 120))[0] == expected
    assert (await asyncio.wait_for(from_logs, 120))[0] == [("output", "b"), *expected]
    await end(gateway, identifier, output=["a", "b", "c"], logs="one\ntwo\n")
    assert events == [("output", "a"), ("logs", "one\n"), ("output", "b")]
    assert (await read(other, elsewhere, {"Last-Event-ID": ids[-1]}))[0] == expected


async def test_a_client_that_does_not_read_costs_little_and_is_let_go(gateway, running, monkeypatch):
    monkeypatch.setattr("tidemill.gateway.handlers.streams.WRITE_LIMIT_S", 0.5)
    held = []
    original = streams_handler._StreamClient._send

    async def send(client, data):
        held.append(client)
        await original(client, data)

    monkeypatch.setattr(streams_handler._StreamClient, "_send", send)
    identifier, url = running
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
    try:
        writer.write(f"GET {place.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b": \n\n")
        transport = held[0]._call.request.transport
        block, largest = "x" * 500_000, 0
        for seq in range(30):
            await publish(gateway, identifier, out(seq, block))
            largest = max(largest, transport.get_write_buffer_size())
        async with asyncio.timeout(120):
            while identifier in gateway.parts.feeds._feeds:
                largest = max(largest, transport.get_write_buffer_size())
                await asyncio.sleep(0.02)
        assert largest <= 256 * 1024
        assert transport.is_closing()
    finally:
        writer.transport.abort()
    assert gateway.parts.feeds._memory.bytes == 0


async def test_what_comes_after_the_last_client_has_left_is_not_held(gateway, running):
    identifier, _ = running
    before = gateway.parts.feeds._memory.bytes
    async with gateway.parts.feeds.follow(identifier, 0) as feed:
        feed.add(out(0, "x"))
        assert gateway.parts.feeds._memory.bytes > before
    feed.add(out(1, "x" * 1000))
    assert gateway.parts.feeds._memory.bytes == before


async def test_streams_together_hold_no_more_than_they_may(gateway, running, monkeypatch):
    monkeypatch.setattr("tidemill.gateway.live.feeds.TRANSCRIPTS_LIMIT_BYTES", 100_000)
    identifier, url = running
    reader = asyncio.create_task(read(gateway, url))
    await publish(gateway, identifier, *(out(seq, "x" * 10_000) for seq in range(10)))
    events, ids = await asyncio.wait_for(reader, 120)
    assert 0 < len(events) < 10
    await end(gateway, identifier, output=["x" * 10_000] * 10)
    assert (await read(gateway, url, {"Last-Event-ID": ids[-1]}))[0] == [
        *[("output", "x" * 10_000)] * (10 - len(events)),
        ("done", "{}"),
    ]
    assert gateway.parts.feeds._memory.bytes == 0
