"""NATS: one connection, typed messages, streams kept as declared, and acknowledged publishing.

Nothing is lost with the bus, since rows in the database drive all work again. So core messages carry only hints and the
replies to waiting requests; `announce` alone repeats a message until the server has acknowledged it.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec
import nats
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, BadRequestError
from prometheus_client import Counter

from tidemill.contracts.subjects import PREDICTIONS, STREAMS, Stream
from tidemill.runtime.db import backoffs
from tidemill.runtime.nats_client import DirectClient, Receive
from tidemill.runtime.service import StartError
from tidemill.runtime.telemetry import log

ACK_TIMEOUT_S: Final = 2.0  # then the window is sent again; a healthy server acknowledges in milliseconds
CONNECT_TIMEOUT_S: Final = 2
# Consumers of one stream: one for each queue of predictions, and those that users have made. Servers from 2.15 on limit
# a stream to 1,000 consumers unless a number is given, and no number means "no limit".
CONSUMERS_LIMIT: Final = 100_000
PENDING_LIMIT_BYTES: Final = 64 * 1024 * 1024  # of one subscription; messages beyond it are dropped
DROPPED: Final = Counter("tidemill_bus_dropped_total", "Messages that could not be decoded or kept", ["reason"])

TRANSIENT_ERRORS: Final = (nats.errors.Error, TimeoutError)  # raised while the server cannot be reached: retry

EventT = TypeVar("EventT", bound=msgspec.Struct)
encode: Final = msgspec.json.Encoder().encode


class Announcement(NamedTuple):
    """A message for a stream. Its headers may hold a Nats-Msg-Id, by which the stream drops a repeated message."""

    subject: str
    payload: bytes
    headers: dict[str, str] | None = None


class Bus:
    """The connection of one service. Use as an async context manager; it reconnects without limit."""

    def __init__(
        self, url: str, name: str, *, retention_s: int = 3600, events_bytes: int = PREDICTIONS.max_bytes
    ) -> None:
        self._url = url
        self._name = name
        self._retention_s = retention_s
        self._events_bytes = events_bytes
        self._client = DirectClient()
        self._reconnected: list[Callable[[], Awaitable[None]]] = []
        self._acks: dict[str, asyncio.Future[bytes]] = {}
        self._inbox = ""
        self._tokens = itertools.count()

    async def __aenter__(self) -> Self:
        for wait in backoffs():
            try:
                await self._connect()
                break
            except (OSError, TimeoutError, nats.errors.Error) as error:
                log().warning("bus away", action="retry", error=str(error) or type(error).__name__)
                await asyncio.sleep(wait)
        self._inbox = self._client.new_inbox()
        await self._client.subscribe_direct(f"{self._inbox}.*", self._on_ack)
        await self.reconcile()
        return self

    async def _connect(self) -> None:
        await self._client.connect(
            self._url,
            name=f"tidemill-{self._name}",
            connect_timeout=CONNECT_TIMEOUT_S,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,  # type: ignore[arg-type]  # passed to sleep(); an int would be at least a second
            skip_subject_validation=True,
            error_cb=self._on_error,
            reconnected_cb=self._on_reconnected,
        )

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):  # without a server nothing can be flushed
            async with asyncio.timeout(2):
                await self._client.flush(1)
        await self._client.close()

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    def not_ready(self) -> str | None:
        return None if self.connected else "NATS is away"

    def on_reconnected(self, call: Callable[[], Awaitable[None]]) -> None:
        """Run `call` after every reconnection, once the streams are as declared."""
        self._reconnected.append(call)

    async def _on_reconnected(self) -> None:
        log().info("bus is back", action="reconnect")
        with contextlib.suppress(nats.errors.Error, TimeoutError):  # the next reconnection tries again
            await self.reconcile()
        for call in self._reconnected:
            await call()

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            DROPPED.labels("slow").inc()
        log().warning("bus", action="error", error=str(error) or type(error).__name__)

    async def reconcile(self) -> None:
        """Create or update the streams that `subjects.STREAMS` declares. Raise StartError if one cannot be changed."""
        for stream in STREAMS:
            await self._reconcile(stream)

    async def _reconcile(self, stream: Stream) -> None:
        config = StreamConfig(
            name=stream.name,
            subjects=list(stream.subjects),
            storage=StorageType(stream.storage),
            max_bytes=self._events_bytes if stream is PREDICTIONS else stream.max_bytes,
            max_consumers=CONSUMERS_LIMIT,
            max_age=self._retention_s if stream.max_age_s is None else stream.max_age_s,
            discard=DiscardPolicy(stream.discard),
            duplicate_window=min(120, self._retention_s),
            allow_msg_ttl=True,
            allow_direct=True,
        )
        try:
            await self.jetstream.add_stream(config)
        except BadRequestError:  # it exists with other settings
            try:
                await self.jetstream.update_stream(config)
            except APIError as error:
                raise StartError(
                    f"NATS stream {stream.name} cannot be changed as needed: {error.description}"
                ) from None

    @property
    def jetstream(self) -> JetStreamContext:
        return self._client.jetstream(timeout=5)

    async def send(self, subject: str, event: msgspec.Struct) -> None:
        """Publish without waiting: for hints, which may be lost."""
        await self.send_bytes(subject, encode(event))

    async def send_bytes(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Publish without waiting. Without a server the client buffers some messages and drops the rest."""
        try:
            await self._client.publish(subject, payload, reply)
        except nats.errors.OutboundBufferLimitError:
            DROPPED.labels("away").inc()

    async def listen(self, subject: str, kind: Any, handle: Callable[[Any], Awaitable[None]]) -> None:
        """Call `handle` with each message of `subject`, decoded as `kind`, in order, one at a time."""
        decode = msgspec.json.Decoder(kind).decode

        async def receive(message: Msg) -> None:
            try:
                event = decode(message.data)
            except msgspec.DecodeError as error:
                _drop_garbage(message.subject, error)
                return
            await handle(event)

        await self.listen_raw(subject, receive)

    async def listen_directly(self, subject: str, kind: Any, handle: Callable[[Any], None]) -> None:
        """Like `listen`, for frequent messages whose handler does not await anything."""
        decode = msgspec.json.Decoder(kind).decode

        def receive(subject: bytes, _reply: bytes, data: bytes) -> bool:
            try:
                event = decode(data)
            except msgspec.DecodeError as error:
                _drop_garbage(subject.decode(), error)
            else:
                handle(event)
            return True

        await self._client.subscribe_direct(subject, receive)

    async def listen_raw(
        self,
        subject: str,
        receive: Callable[[Msg], Awaitable[None]],
        *,
        queue: str = "",
        first: Receive | None = None,
    ) -> Any:
        """Subscribe to undecoded messages. Each message goes to one of the subscribers that name the same `queue`.

        `first` sees a message before `receive` does; `receive` gets those for which `first` returned False. The order
        of the messages that `first` took is kept.
        """
        return await self._client.subscribe_direct(
            subject, first, queue=queue, cb=receive, pending_msgs_limit=0, pending_bytes_limit=PENDING_LIMIT_BYTES
        )

    async def ask(
        self, subject: str, event: msgspec.Struct, answer: type[EventT], *, timeout_s: float
    ) -> EventT | None:
        """Send a request and return the reply, or None if none came in time."""
        try:
            message = await self._client.request(subject, encode(event), timeout=timeout_s)
        except (TimeoutError, nats.errors.Error):
            return None
        return msgspec.json.decode(message.data, type=answer)

    async def ask_all(self, subject: str, payload: bytes, *, within_s: float) -> list[bytes]:
        """Send a request that several may answer, and return all replies that came within `within_s` seconds."""
        answers: list[bytes] = []

        async def receive(message: Msg) -> None:
            if message.data:  # an empty message is a status: there are no responders
                answers.append(message.data)

        inbox = self._client.new_inbox()
        subscription = await self.listen_raw(inbox, receive)
        try:
            await self._client.publish(subject, payload, inbox)
            await asyncio.sleep(within_s)
        finally:
            await subscription.unsubscribe()
        return answers

    async def serve(self, subject: str, kind: Any, handle: Callable[[Any], Awaitable[msgspec.Struct | None]]) -> None:
        """Reply to requests on `subject`. If `handle` returns None, another service replies."""
        decode = msgspec.json.Decoder(kind).decode

        async def receive(message: Msg) -> None:
            answer = await handle(decode(message.data))
            if answer is not None:
                await self._client.publish(message.reply, encode(answer))

        await self.listen_raw(subject, receive)

    async def announce(self, messages: Sequence[Announcement]) -> None:
        """Publish to streams and return when the server has all messages; repeat them until it does.

        Only the last message of the window asks for an acknowledgement, which then covers all: the server handles one
        connection in order, and a stream that discards old messages refuses no new one.
        """
        if not messages:
            return
        for wait in backoffs():
            acknowledged = self._expect_ack()
            try:
                await self._publish_window(messages, acknowledged)
            except (TimeoutError, nats.errors.Error) as error:
                log().warning("not acknowledged", action="announce", error=str(error) or type(error).__name__)
                await asyncio.sleep(wait)
            else:
                return
            finally:
                self._acks.pop(acknowledged, None)

    def _expect_ack(self) -> str:
        subject = f"{self._inbox}.{next(self._tokens)}"
        self._acks[subject] = asyncio.get_running_loop().create_future()
        return subject

    async def _publish_window(self, messages: Sequence[Announcement], reply: str) -> None:
        last = len(messages) - 1
        for index, message in enumerate(messages):
            await self._client.publish(
                message.subject, message.payload, reply if index == last else "", headers=message.headers
            )
        async with asyncio.timeout(ACK_TIMEOUT_S):
            answer = await self._acks[reply]
        if b'"error"' in answer:
            raise nats.errors.Error(f"the stream refused: {answer.decode(errors='replace')}")

    def _on_ack(self, subject: bytes, _reply: bytes, data: bytes) -> bool:
        future = self._acks.get(subject.decode())
        if future is not None and not future.done():
            # An empty message with status 503: no stream listens on the subject.
            future.set_result(data or b'{"error": "no stream"}')
        return True


def _drop_garbage(subject: str, error: msgspec.DecodeError) -> None:
    DROPPED.labels("garbage").inc()
    log().warning("garbage on the bus", action="decode", subject=subject, error=str(error))
