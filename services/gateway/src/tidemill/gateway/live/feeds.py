"""Live output of running predictions: one subscription for all clients of a prediction at this gateway.

All clients read one transcript, each from its own position, so a slow one costs no memory of its own. The bus may
forget: the rows are looked at too, and a prediction that ended without a last chunk is finished from its row.
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
from tidemill.contracts.prediction import SQL_OPEN, Status
from tidemill.gateway.live.past import Past
from tidemill.gateway.live.sse import Ending, Transcript
from tidemill.runtime.bus import TRANSIENT_ERRORS as BUS_ERRORS
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, Row
from tidemill.runtime.telemetry import log

POLL_S: Final = 1.0  # a prediction whose last chunk was lost ends its streams within two of these
# A stream is silent for at most twice this time; the Python client gives up after 30 s.
BEAT_S: Final = 7.5
TRANSCRIPT_LIMIT_BYTES: Final = 4 * (
    OUTPUT_LIMIT_BYTES + LOGS_LIMIT_BYTES
)  # two attempts' worth, each as text and wire
TRANSCRIPTS_LIMIT_BYTES: Final = 256 * MIB  # of all together; a stream that grows beyond is let go, and may come back
ROW: Final = """
SELECT id, status, attempt, output, logs, error, created_at, data_removed FROM prediction WHERE id = $1"""
ENDED: Final = f"SELECT id FROM prediction WHERE id = ANY($1) AND status NOT IN {SQL_OPEN}"  # noqa: S608 - a constant
decode: Final = msgspec.json.Decoder(AnyChunk).decode


class Held:
    """What the transcripts of a gateway hold in memory."""

    def __init__(self) -> None:
        self.bytes = 0


class Feed:
    """What one prediction has put out; `closed` when no more comes of it, ended or not."""

    def __init__(self, prediction_id: str, second: int, held: "Held") -> None:
        self.id = prediction_id
        self.transcript = Transcript(second)
        self._held = held
        self.closed = False
        self.clients = 0
        self.silent = False  # since the last beat
        self.subscription: Any = None
        self.since = 1  # up to here the stream was read
        self.begun = asyncio.Event()  # the past was read, or cannot be now
        self.settled = False  # it was read once more: what was just being kept at the first time is there
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change. Take it before looking at the transcript."""
        return self._changed

    def decoded(self, data: bytes) -> AnyChunk | None:
        try:
            chunk: AnyChunk = decode(data)
        except msgspec.DecodeError as error:
            log().warning("garbage in a stream", action="decode", prediction=self.id, error=str(error))
            return None
        return chunk

    def add(self, chunk: AnyChunk | None) -> None:
        if chunk is None or self.closed:
            return  # its clients are leaving
        before = self.transcript.size_bytes
        self.transcript.add(chunk)
        if self.transcript.size_bytes == before:
            return
        self._held.bytes += self.transcript.size_bytes - before
        if self.transcript.size_bytes > TRANSCRIPT_LIMIT_BYTES or self._held.bytes > TRANSCRIPTS_LIMIT_BYTES:
            self.close()
        self.notify()

    def finish(self, ending: Ending) -> None:
        before = self.transcript.size_bytes
        self.transcript.finish(ending)
        self._held.bytes += self.transcript.size_bytes - before
        self.notify()

    def close(self) -> None:
        self.closed = True
        self.notify()

    def beat(self) -> None:
        """Wakes the clients when nothing else has since the last beat: they tell theirs that they are there."""
        if self.silent:
            self.notify()
        self.silent = True

    def notify(self) -> None:
        self.silent = False
        self.closed = self.closed or self.transcript.ended
        self._changed.set()
        self._changed = asyncio.Event()


class Feeds:
    """The feeds of one gateway. `poll`, `settle` and `keep_alive` are tasks of the service, which ends with any of
    them: its streams end then, and their clients come back to another gateway or to the next one.
    """

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bus = bus
        self._database = database
        self._feeds: dict[str, Feed] = {}
        self._held = Held()
        self._closing = False
        self._past = Past(bus, subjects.OUTPUT)
        bus.on_reconnected(self._read_again)

    async def listen(self) -> None:
        """To be called once, before anybody follows."""
        await self._past.listen()

    async def row(self, prediction_id: str) -> Row | None:
        return await self._database.row(ROW, prediction_id)

    @asynccontextmanager
    async def following(self, prediction_id: str, second: int) -> AsyncIterator[Feed]:
        """`second` is the unix second in which the prediction was made."""
        feed = self._feeds.get(prediction_id)
        started = feed is not None
        feed = feed or self._feeds.setdefault(prediction_id, Feed(prediction_id, second, self._held))
        feed.clients += 1
        try:
            if self._closing:
                feed.close()
            elif not started:
                await self._start(feed)
            yield feed
        finally:
            feed.clients -= 1
            if feed.clients == 0:
                self._feeds.pop(prediction_id, None)
                feed.close()  # what is on its way still is for nobody, and would count as held for ever
                self._held.bytes -= feed.transcript.size_bytes
                await _unsubscribe(feed)

    async def _start(self, feed: Feed) -> None:
        """What comes is heard before the past is read, so that nothing falls between; it waits until then."""

        async def receive(message: Msg) -> None:
            await feed.begun.wait()
            chunk = feed.decoded(message.data)
            if chunk is not None and feed.transcript.lacks_before(chunk) and not feed.closed:
                await self._read(feed)
            feed.add(chunk)

        try:
            feed.subscription = await self._bus.listen_raw(subjects.output(feed.id), receive)
            await self._read(feed)
        except nats.errors.Error as error:  # without the bus the row still tells the end
            log().warning("no live output", action="listen", prediction=feed.id, error=str(error))
        finally:
            feed.begun.set()  # also when the client that was the first has gone

    async def _read(self, feed: Feed) -> bool:
        """Adds what the stream has since the last time. False when it cannot be read now."""
        try:
            since = await self._past.read(
                subjects.output(feed.id), feed.since, lambda data: feed.add(feed.decoded(data))
            )
        except BUS_ERRORS as error:
            log().warning("no past output", action="read", prediction=feed.id, error=str(error))
            return False
        feed.since = max(feed.since, since)
        return True

    async def _read_again(self) -> None:
        """Of the bus that was away some chunks never came, and its streams may be new."""
        for feed in self._feeds.values():
            feed.since, feed.settled = 1, False

    async def settle(self) -> None:
        """Named task: reads the past of each feed a second time."""
        while True:
            await asyncio.sleep(POLL_S)
            await self._settle()

    async def _settle(self) -> None:
        """Until one cannot be read: a server in trouble is asked no more than once an interval."""
        for feed in [feed for feed in self._feeds.values() if feed.begun.is_set() and not feed.settled]:
            feed.settled = feed.closed or await self._read(feed)
            if not feed.settled:
                return

    async def keep_alive(self) -> None:
        """Named task. One clock for all clients: ten thousand timers would cost more."""
        while True:
            await asyncio.sleep(BEAT_S)
            await self.beat()

    async def beat(self) -> None:
        for feed in list(self._feeds.values()):
            feed.beat()
            await asyncio.sleep(0)  # the clients of one feed, and then those of the next

    async def poll(self) -> None:
        """Named task. A last chunk has one interval to arrive after the row has ended."""
        overdue: set[str] = set()
        while True:
            await asyncio.sleep(POLL_S)
            live = [feed.id for feed in self._feeds.values() if not feed.closed]
            try:
                ended = {row["id"] for row in await self._database.fetch(ENDED, live)} if live else set()
                for prediction_id in ended & overdue:
                    await self._finish(prediction_id)
            except TRANSIENT_ERRORS as error:
                log().warning("cannot poll", action="retry", error=str(error))
                continue
            overdue = ended

    async def _finish(self, prediction_id: str) -> None:
        row = await self.row(prediction_id)
        feed = self._feeds.get(prediction_id)
        if row is not None and feed is not None:
            feed.finish(ending(row))

    def close(self) -> None:
        """Lets every client go: they come back to another gateway."""
        self._closing = True
        for feed in self._feeds.values():
            feed.close()


def ending(row: Row) -> Ending:
    """`row` of a prediction that has ended."""
    output = None if row["output"] is None else msgspec.json.decode(row["output"])
    return Ending(Status(row["status"]), output, row["logs"] or "", row["error"], row["attempt"])


async def _unsubscribe(feed: Feed) -> None:
    if feed.subscription is not None:
        with suppress(nats.errors.Error):
            await feed.subscription.unsubscribe()


def install(app: web.Application, feeds: Feeds) -> None:
    """Clients leave before the server waits for open requests."""

    async def let_go(_app: web.Application) -> None:
        feeds.close()

    app.on_shutdown.append(let_go)
