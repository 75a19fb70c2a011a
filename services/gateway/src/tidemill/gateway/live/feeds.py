"""Live output of running predictions: one bus subscription for all clients of a prediction at this gateway.

All clients read one transcript, each from its own position, so a slow client needs no buffer. The bus may lose
messages: the rows are polled too, and a prediction that ended without a last chunk is finished from its row.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
import nats
from aiohttp import web
from nats.aio.msg import Msg

from tidemill.contracts import subjects
from tidemill.contracts.events import AnyChunk
from tidemill.contracts.limits import LOGS_LIMIT_BYTES, MIB, OUTPUT_LIMIT_BYTES
from tidemill.contracts.prediction import Status
from tidemill.gateway import stores
from tidemill.gateway.live.sse import FinalState, Transcript
from tidemill.gateway.live.stored_messages import StoredMessages
from tidemill.runtime.bus import TRANSIENT_ERRORS as BUS_ERRORS
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, Row
from tidemill.runtime.telemetry import log

POLL_S: Final = 1.0  # streams of a prediction whose last chunk was lost end within two intervals
# A stream is silent for at most twice this time; the Python client times out after 30 s.
HEARTBEAT_S: Final = 7.5
TRANSCRIPT_LIMIT_BYTES: Final = 4 * (
    OUTPUT_LIMIT_BYTES + LOGS_LIMIT_BYTES
)  # two attempts, each as text and as wire bytes
TRANSCRIPTS_LIMIT_BYTES: Final = (
    256 * MIB
)  # of all transcripts; beyond it a stream is closed, and its clients may reconnect
decode: Final = msgspec.json.Decoder(AnyChunk).decode


class TranscriptMemory:
    """The size of all transcripts of a gateway in memory."""

    def __init__(self) -> None:
        self.bytes = 0


class Feed:
    """The live output of one prediction; `closed` when no more follows, whether the prediction has ended or not."""

    def __init__(self, prediction_id: str, second: int, memory: TranscriptMemory) -> None:
        self.id = prediction_id
        self.transcript = Transcript(second)
        self._memory = memory
        self.closed = False
        self.clients = 0
        self.silent = False  # no event since the last heartbeat
        self.subscription: Any = None
        self.since = 1  # the sequence number in the JetStream stream to read from
        self.loaded = asyncio.Event()  # the stored output was read, or cannot be read now
        self.is_reread = (
            False  # the stored output was read again: the bus may store a message only after it delivers it
        )
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """An event that is set at the next change. Get it before you read the transcript."""
        return self._changed

    def decoded(self, data: bytes) -> AnyChunk | None:
        try:
            chunk: AnyChunk = decode(data)
        except msgspec.DecodeError as error:
            log().warning("cannot decode a chunk", action="decode", prediction=self.id, error=str(error))
            return None
        return chunk

    def add(self, chunk: AnyChunk | None) -> None:
        if chunk is None or self.closed:
            return  # its clients are disconnecting
        before = self.transcript.size_bytes
        self.transcript.add(chunk)
        if self.transcript.size_bytes == before:
            return
        self._memory.bytes += self.transcript.size_bytes - before
        if self.transcript.size_bytes > TRANSCRIPT_LIMIT_BYTES or self._memory.bytes > TRANSCRIPTS_LIMIT_BYTES:
            self.close()
        self.notify()

    def finish(self, final: FinalState) -> None:
        before = self.transcript.size_bytes
        self.transcript.finish(final)
        self._memory.bytes += self.transcript.size_bytes - before
        self.notify()

    def close(self) -> None:
        self.closed = True
        self.notify()

    def wake_if_silent(self) -> None:
        """Wake the clients if nothing has since the last heartbeat; each then sends a heartbeat."""
        if self.silent:
            self.notify()
        self.silent = True

    def notify(self) -> None:
        self.silent = False
        self.closed = self.closed or self.transcript.ended
        self._changed.set()
        self._changed = asyncio.Event()


class Feeds:
    """The feeds of one gateway. `poll`, `reread` and `keep_alive` are tasks of the service, which stops if one fails:
    its streams end then, and their clients reconnect to another gateway process.
    """

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bus = bus
        self._database = database
        self._feeds: dict[str, Feed] = {}
        self._memory = TranscriptMemory()
        self._closing = False
        self._stored = StoredMessages(bus, subjects.OUTPUT)
        bus.on_reconnected(self._invalidate)

    async def listen(self) -> None:
        """Call once, before `follow`."""
        await self._stored.listen()

    async def row(self, prediction_id: str) -> Row | None:
        return await stores.predictions.find_for_stream(self._database, prediction_id)

    @asynccontextmanager
    async def follow(self, prediction_id: str, second: int) -> AsyncIterator[Feed]:
        """Yield the feed of a prediction. `second` is the unix second in which the prediction was created."""
        feed = self._feeds.get(prediction_id)
        started = feed is not None
        feed = feed or self._feeds.setdefault(prediction_id, Feed(prediction_id, second, self._memory))
        feed.clients += 1
        try:
            if self._closing:
                feed.close()
            elif not started:
                await self._subscribe(feed)
            yield feed
        finally:
            feed.clients -= 1
            if feed.clients == 0:
                self._feeds.pop(prediction_id, None)
                feed.close()  # later chunks must not add to the memory that is subtracted here
                self._memory.bytes -= feed.transcript.size_bytes
                await _unsubscribe(feed)

    async def _subscribe(self, feed: Feed) -> None:
        """Subscribe, then read the stored output, so that no chunk is lost between; live chunks wait for the read."""

        async def receive(message: Msg) -> None:
            await feed.loaded.wait()
            chunk = feed.decoded(message.data)
            if chunk is not None and feed.transcript.has_gap_before(chunk) and not feed.closed:
                await self._read(feed)
            feed.add(chunk)

        try:
            feed.subscription = await self._bus.listen_raw(subjects.output(feed.id), receive)
            await self._read(feed)
        except nats.errors.Error as error:  # without the bus the end still comes from the row
            log().warning("no live output", action="listen", prediction=feed.id, error=str(error))
        finally:
            feed.loaded.set()  # also when the first client has disconnected meanwhile

    async def _read(self, feed: Feed) -> bool:
        """Add the stored chunks since the last read. Return False if they cannot be read now."""
        try:
            since = await self._stored.read(
                subjects.output(feed.id), feed.since, lambda data: feed.add(feed.decoded(data))
            )
        except BUS_ERRORS as error:
            log().warning("cannot read the stored output", action="read", prediction=feed.id, error=str(error))
            return False
        feed.since = max(feed.since, since)
        return True

    async def _invalidate(self) -> None:
        """After a reconnect: chunks may be lost, and streams may be new."""
        for feed in self._feeds.values():
            feed.since, feed.is_reread = 1, False

    async def reread(self) -> None:
        """Named task: reads the stored output of each feed a second time."""
        while True:
            await asyncio.sleep(POLL_S)
            await self._reread()

    async def _reread(self) -> None:
        """Stop at the first feed that cannot be read: a failing server gets one request per interval."""
        for feed in [feed for feed in self._feeds.values() if feed.loaded.is_set() and not feed.is_reread]:
            feed.is_reread = feed.closed or await self._read(feed)
            if not feed.is_reread:
                return

    async def keep_alive(self) -> None:
        """Named task. One timer for all clients: ten thousand timers would cost more."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self.send_heartbeats()

    async def send_heartbeats(self) -> None:
        for feed in list(self._feeds.values()):
            feed.wake_if_silent()
            await asyncio.sleep(0)  # lets the clients of one feed run before those of the next

    async def poll(self) -> None:
        """Named task: finishes feeds from their rows. After the row ends, the last chunk has one interval to arrive."""
        overdue: set[str] = set()
        while True:
            await asyncio.sleep(POLL_S)
            live = [feed.id for feed in self._feeds.values() if not feed.closed]
            try:
                ended = await stores.predictions.list_ended(self._database, live) if live else set()
                for prediction_id in ended & overdue:
                    await self._finish(prediction_id)
            except TRANSIENT_ERRORS as error:
                log().warning("cannot poll the ends of predictions", action="retry", error=str(error))
                continue
            overdue = ended

    async def _finish(self, prediction_id: str) -> None:
        row = await self.row(prediction_id)
        feed = self._feeds.get(prediction_id)
        if row is not None and feed is not None:
            feed.finish(final_state(row))

    def close(self) -> None:
        """Close all feeds: their clients reconnect to another gateway."""
        self._closing = True
        for feed in self._feeds.values():
            feed.close()


def final_state(row: Row) -> FinalState:
    """Return the final state of a prediction that has ended."""
    output = None if row["output"] is None else msgspec.json.decode(row["output"])
    return FinalState(Status(row["status"]), output, row["logs"] or "", row["error"], row["attempt"])


async def _unsubscribe(feed: Feed) -> None:
    if feed.subscription is not None:
        with suppress(nats.errors.Error):
            await feed.subscription.unsubscribe()


def install(app: web.Application, feeds: Feeds) -> None:
    """Close the feeds on shutdown, before the server waits for open requests."""

    async def close_feeds(_app: web.Application) -> None:
        feeds.close()

    app.on_shutdown.append(close_feeds)
