"""Reads the messages of a subject that a JetStream stream has stored, by batched direct gets.

It needs no consumer: a stream has few of them, and each makes every message cost more. A read covers only messages
stored so far; the server may store a message a moment after it delivers it to subscribers.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

import msgspec
import nats
from nats.aio.msg import Msg

from tidemill.contracts import subjects
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import MIB
from tidemill.contracts.subjects import Stream
from tidemill.runtime.bus import Bus, encode

BATCH: Final = 1_000  # messages per request; the server may send fewer and says how many are left
BATCH_BYTES: Final = 8 * MIB  # bytes per request
BATCH_TIMEOUT_S: Final = 5.0  # a batch comes within milliseconds
NO_MESSAGES: Final = "404"
END_OF_BATCH: Final = "204"

OnData = Callable[[bytes], None]


class _DirectGet(msgspec.Struct):
    """A batched direct get (ADR-31 of NATS)."""

    seq: int
    next_by_subj: str
    batch: int
    max_bytes: int


class StoredMessages:
    """Reads stored messages of one stream; reads may run concurrently."""

    def __init__(self, bus: Bus, stream: Stream) -> None:
        self._bus = bus
        self._subject = subjects.direct_get(stream)
        self._inbox = f"_INBOX.past.{new_id()}"
        self._replies: dict[str, asyncio.Queue[Msg]] = {}
        self._tokens = itertools.count()

    async def listen(self) -> None:
        """Call once, before `read`."""
        await self._bus.listen_raw(f"{self._inbox}.*", self._on_reply)

    async def read(self, subject: str, since: int, on_data: OnData) -> int:
        """Pass the stored messages from sequence number `since` on to `on_data`, in order; return the next `since`.

        Raise one of bus.TRANSIENT_ERRORS; a repeated read then passes the same messages again.
        """
        token = str(next(self._tokens))
        replies = self._replies[token] = asyncio.Queue[Msg]()
        try:
            more = True
            while more:
                asked = encode(_DirectGet(since, subject, BATCH, BATCH_BYTES))
                await self._bus.send_bytes(self._subject, asked, f"{self._inbox}.{token}")
                async with asyncio.timeout(BATCH_TIMEOUT_S):
                    since, more = await _batch(replies, since, on_data)
        finally:
            del self._replies[token]
        return since

    async def _on_reply(self, message: Msg) -> None:
        replies = self._replies.get(message.subject.rpartition(".")[2])
        if replies is not None:
            replies.put_nowait(message)


async def _batch(replies: asyncio.Queue[Msg], since: int, on_data: OnData) -> tuple[int, bool]:
    """Return the next `since`, and whether more messages are stored."""
    last = 0
    while True:
        message = await replies.get()
        headers = message.headers or {}
        status = headers.get("Status")
        if status == NO_MESSAGES:
            return since, False
        if status == END_OF_BATCH:
            return since, headers.get("Nats-Num-Pending", "0") != "0"
        if status is not None:
            raise nats.errors.Error(f"the stream cannot be read: {status} {headers.get('Description', '')}")
        if headers["Nats-Last-Sequence"] != str(last):
            raise nats.errors.Error("the answer has a hole")  # a message was dropped: the connection's buffer was full
        on_data(message.data)
        last = int(headers["Nats-Sequence"])
        since = last + 1
