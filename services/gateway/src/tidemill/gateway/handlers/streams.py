"""A prediction's live output as server-sent events, by its signed stream URL."""

import asyncio
from typing import Final, Protocol

from aiohttp import web

from tidemill.contracts.errors import not_found
from tidemill.contracts.limits import KIB
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.gateway.call import EVENTS, Call, operation
from tidemill.gateway.live import sse
from tidemill.gateway.live.feeds import Feeds, final_state
from tidemill.gateway.responses import output_files
from tidemill.gateway.responses.output_files import OutputFileParts
from tidemill.runtime.clock import now
from tidemill.runtime.db import Row
from tidemill.runtime.streams.urls import KIND
from tidemill.security import capability
from tidemill.security.capability import InvalidCapability

WRITE_LIMIT_S: Final = 30.0  # a client that reads nothing for this long is gone or too slow
WRITE_LIMIT_BYTES: Final = 64 * KIB  # of one write; with the connection's buffer it bounds the memory for one client
AT_ONCE_BYTES: Final = 16 * KIB  # well below the write-buffer limit at which asyncio blocks a writer


class StreamParts(OutputFileParts, Protocol):
    @property
    def feeds(self) -> Feeds: ...


class _StreamClient:
    """One connection; writes a transcript's events from a position on."""

    def __init__(self, call: Call[StreamParts], row: Row) -> None:
        self._call = call
        self.second = int(row["created_at"].timestamp())
        self._position = 0
        self._seen = sse.position_of(call.request.headers.get("Last-Event-ID"))
        self.response = web.StreamResponse(headers=sse.HEADERS)

    async def write(self, transcript: sse.Transcript) -> bool:
        """Write the next events, up to about WRITE_LIMIT_BYTES. Return False if there are none."""
        pieces, size = [], 0
        events = transcript.events
        while size < WRITE_LIMIT_BYTES and self._position < len(events):
            event = events[self._position]
            self._position += 1
            lacking = sse.missing_data(event, self._seen)
            if lacking is not None:
                pieces.append(await self._encoded(event, lacking))
                size += len(pieces[-1])
        if not pieces:
            return False
        await self._send(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return True

    def is_up_to_date(self, transcript: sse.Transcript) -> bool:
        return self._position == len(transcript.events)

    def has_all(self, transcript: sse.Transcript) -> bool:
        return all(sse.missing_data(event, self._seen) is None for event in transcript.events)

    async def _encoded(self, event: sse.SseEvent, data: str) -> bytes:
        if event.name == "output":
            data = await output_files.for_event(self._call, data)
        # Clients that get the event unchanged share its bytes.
        return event.wire if data is event.data else sse.encode(event.name, data, event.position, self.second)

    async def heartbeat(self) -> None:
        await self._send(sse.HEARTBEAT)

    async def _send(self, data: bytes) -> None:
        """Write in pieces, so that at most WRITE_LIMIT_BYTES wait in the connection's buffer."""
        transport = self._call.request.transport
        if len(data) <= AT_ONCE_BYTES and transport is not None and not transport.get_write_buffer_size():
            await self.response.write(data)  # does not block: the buffer is empty
            return
        for start in range(0, len(data), WRITE_LIMIT_BYTES):
            async with asyncio.timeout(WRITE_LIMIT_S):
                await self.response.write(data[start : start + WRITE_LIMIT_BYTES])


async def _stream(call: Call[StreamParts]) -> web.StreamResponse:
    row = await _row(call)
    client = _StreamClient(call, row)
    if call.request.method == "HEAD":
        return client.response
    try:
        if Status(row["status"]) in TERMINAL:
            return await _replay(call, client, row)
        await _follow(call, client, row["id"])
    except (OSError, TimeoutError):
        if not client.response.prepared:
            raise
        if call.request.transport is not None:
            call.request.transport.abort()
    return client.response


@operation("streams.get", signed=True, headers=("Last-Event-ID",), response=EVENTS)
async def get(call: Call[StreamParts]) -> web.StreamResponse:
    """Stream a prediction's live output.

    It begins with the first event, or after Last-Event-ID, and ends after `done`.
    """
    return await _stream(call)


@operation("streams.get_files", signed=True, headers=("Last-Event-ID",), response=EVENTS)
async def get_files(call: Call[StreamParts]) -> web.StreamResponse:
    """Stream the files that a prediction makes.

    As the stream of text; clients take each `output` for the URL of a file.
    """
    return await _stream(call)


async def _row(call: Call[StreamParts]) -> Row:
    try:
        prediction_id = capability.verify([call.parts.signing_key], KIND, call.path("token"), now())
    except InvalidCapability:
        raise not_found() from None
    row = await call.parts.feeds.row(prediction_id)
    if row is None or row["data_removed"]:
        raise not_found()
    return row


async def _replay(call: Call[StreamParts], client: _StreamClient, row: Row) -> web.StreamResponse:
    transcript = sse.Transcript(client.second)
    transcript.finish(final_state(row))
    if client.has_all(transcript):
        return web.Response(status=204)  # tells an EventSource, which always reconnects, to stop
    await client.response.prepare(call.request)
    while await client.write(transcript):
        pass
    return client.response


async def _follow(call: Call[StreamParts], client: _StreamClient, prediction_id: str) -> None:
    await client.response.prepare(call.request)
    async with call.parts.feeds.follow(prediction_id, client.second) as feed:
        await client.heartbeat()  # sends the headers at once; some clients wait for a first byte
        while True:
            changed = feed.changed
            if await client.write(feed.transcript):
                continue
            if feed.closed:
                return
            await changed.wait()
            if client.is_up_to_date(feed.transcript) and not feed.closed:
                await client.heartbeat()
