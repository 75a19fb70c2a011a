"""What the bus keeps of a subject's messages, read without a consumer: those are few in a stream, and each one makes
every message cost more. Reading says nothing of what comes later; a message may be kept a moment after it is delivered.
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

BATCH: Final = 1_000  # messages for one request; the server may end earlier, and says what is left
BATCH_BYTES: Final = 8 * MIB  # what one reading may have under way
PATIENCE_S: Final = 5.0  # a batch comes within milliseconds
NOTHING: Final = "404"
END: Final = "204"

Take = Callable[[bytes], None]


class _Asked(msgspec.Struct):
    """A batched direct get (ADR-31 of NATS)."""

    seq: int
    next_by_subj: str
    batch: int
    max_bytes: int


class Past:
    """Reads for one gateway, any number at a time."""

    def __init__(self, bus: Bus, stream: Stream) -> None:
        self._bus = bus
        self._subject = subjects.direct_get(stream)
        self._inbox = f"_INBOX.past.{new_id()}"
        self._answers: dict[str, asyncio.Queue[Msg]] = {}
        self._tokens = itertools.count()

    async def listen(self) -> None:
        """To be called once, before anything is read."""
        await self._bus.listen_raw(f"{self._inbox}.*", self._on_answer)

    async def read(self, subject: str, since: int, take: Take) -> int:
        """Hands over what is kept from the stream's sequence `since` on, in order; answers where to go on. What was
        taken before it raises one of bus.TRANSIENT_ERRORS comes again with the next reading.
        """
        token = str(next(self._tokens))
        answers = self._answers[token] = asyncio.Queue[Msg]()
        try:
            more = True
            while more:
                asked = encode(_Asked(since, subject, BATCH, BATCH_BYTES))
                await self._bus.send_bytes(self._subject, asked, f"{self._inbox}.{token}")
                async with asyncio.timeout(PATIENCE_S):
                    since, more = await _batch(answers, since, take)
        finally:
            del self._answers[token]
        return since

    async def _on_answer(self, message: Msg) -> None:
        answers = self._answers.get(message.subject.rpartition(".")[2])
        if answers is not None:
            answers.put_nowait(message)


async def _batch(answers: asyncio.Queue[Msg], since: int, take: Take) -> tuple[int, bool]:
    """Where to go on, and whether there is more at once."""
    last = 0
    while True:
        message = await answers.get()
        told = message.headers or {}
        status = told.get("Status")
        if status == NOTHING:
            return since, False
        if status == END:
            return since, told.get("Nats-Num-Pending", "0") != "0"
        if status is not None:
            raise nats.errors.Error(f"the stream cannot be read: {status} {told.get('Description', '')}")
        if told["Nats-Last-Sequence"] != str(last):
            raise nats.errors.Error("the answer has a hole")  # more came than this connection could hold
        take(message.data)
        last = int(told["Nats-Sequence"])
        since = last + 1
