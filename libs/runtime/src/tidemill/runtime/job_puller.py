"""Pulls jobs from a durable JetStream consumer into one callback, by pull requests that it sends itself.

The client library's fetch() would cost a task and a future for each batch. Jobs are hints without acknowledgement: one
that is lost is published again from its row.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from tidemill.contracts import subjects
from tidemill.runtime.bus import TRANSIENT_ERRORS, Bus
from tidemill.runtime.telemetry import log

EXPIRES_S: Final = 20  # a pull request waits this long at the server, and is then sent again
CONSUMER_IDLE_S: Final = 3600  # above the max_age of the stream of jobs: a new consumer gets no finished jobs
RETRY_S: Final = 0.2

Receive = Callable[[bytes, int], None]  # payload, and how many more messages wait at the server


class _PullRequest(msgspec.Struct):
    token: str
    left: int
    until: float


class JobPuller:
    """Keeps as many jobs of one queue requested as `want` was told. The workers share one consumer for each queue."""

    def __init__(self, bus: Bus, queue: str, receive: Receive) -> None:
        self._bus = bus
        self._queue = queue
        self._receive = receive
        self._requests: deque[_PullRequest] = deque()
        self._tokens = itertools.count()
        self._inbox = ""
        self._subscription: Any = None
        self._wanted = 0

    async def start(self) -> None:
        """Subscribe and create the consumer. Without a connection, pulling starts with the next reconnection."""
        self._inbox = f"_INBOX.pull.{id(self):x}.{subjects.job_consumer(self._queue)}"
        self._subscription = await self._bus.listen_raw(f"{self._inbox}.*", self._on_status, first=self._on_job)
        self._bus.on_reconnected(self._restart)
        await self._try_consumer()

    async def stop(self) -> None:
        self._wanted = 0
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.unsubscribe()

    async def _restart(self) -> None:
        """Send the requests again: the server has lost them and, after a restart, also the stream and its consumers."""
        if self._subscription is None:
            return
        self._requests.clear()
        await self._try_consumer()
        await self.want(self._wanted)

    async def _try_consumer(self) -> None:
        """Create the consumer. If that fails, the next reconnection or the next error status tries again."""
        try:
            await self._ensure_consumer()
        except TRANSIENT_ERRORS as error:
            log().warning("consumer", action="retry", queue=self._queue, error=str(error) or type(error).__name__)

    async def _ensure_consumer(self) -> None:
        await self._bus.jetstream.add_consumer(
            subjects.JOBS.name,
            ConsumerConfig(
                durable_name=subjects.job_consumer(self._queue),
                filter_subject=subjects.job(self._queue),
                ack_policy=AckPolicy.NONE,
                inactive_threshold=CONSUMER_IDLE_S,
            ),
        )

    @property
    def requested(self) -> int:
        """The number of jobs that were requested and have not come."""
        return sum(request.left for request in self._requests)

    async def want(self, jobs: int) -> None:
        """Request jobs until `jobs` are requested. Call it whenever there is room for more."""
        self._wanted = jobs
        now = asyncio.get_running_loop().time()
        while self._requests and self._requests[0].until < now:  # the message of its expiry was lost
            self._requests.popleft()
        missing = jobs - self.requested
        # Requesting at each free slot would cost a request for each job; half a window is early enough.
        if missing <= 0 or (missing < jobs // 2 and self._requests):
            return
        request = _PullRequest(f"{self._inbox}.{next(self._tokens)}", missing, now + EXPIRES_S + 5)
        self._requests.append(request)
        body = b'{"batch":%d,"expires":%d}' % (missing, EXPIRES_S * 1_000_000_000)
        await self._bus.send_bytes(self._next_subject(), body, request.token)

    def _next_subject(self) -> str:
        return f"$JS.API.CONSUMER.MSG.NEXT.{subjects.JOBS.name}.{subjects.job_consumer(self._queue)}"

    def _on_job(self, _subject: bytes, reply: bytes, data: bytes) -> bool:
        """Return False if the message is no job but a status of a request: it has no reply subject."""
        if not reply:
            return False
        if self._requests:
            first = self._requests[0]
            first.left -= 1
            if first.left <= 0:
                self._requests.popleft()
        self._receive(data, int(reply.rsplit(b".", 1)[1]))
        return True

    async def _on_status(self, message: Msg) -> None:
        """Handle the end of a request: it expired (408), or the consumer does not exist any more (404, 409, 503)."""
        self._requests = deque(request for request in self._requests if request.token != message.subject)
        status = (message.headers or {}).get("Status")
        if status != "408" and self._subscription is not None:
            await asyncio.sleep(RETRY_S)
            await self._try_consumer()
        await self.want(self._wanted)
