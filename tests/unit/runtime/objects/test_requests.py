"""A request body that breaks off: by its source, which no retry mends, or by the connection to the store."""

import asyncio

import pytest

from tidemill.runtime.objects.requests import ObjectMissing, ObjectRequests, ObjectStoreError, TrackedSource
from tidemill.runtime.objects.retries import RetryBudget


class Slow:
    """Waits before each chunk, as a file that is read in a thread."""

    def __init__(self, error=None):
        self.error = error

    async def chunks(self, _offset, _size):
        yield b"first"
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        yield b"second"


async def test_a_source_that_fails_is_to_blame():
    reading = TrackedSource(Slow(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        assert [chunk async for chunk in reading.chunks(0, 11)]
    assert reading.broken


async def test_a_sender_that_is_ended_with_its_connection_does_not_blame_the_source():
    """What sends the body is canceled while it waits for the next chunk."""
    waiting = asyncio.Event()

    class Waiting(Slow):
        async def chunks(self, _offset, _size):
            yield b"first"
            waiting.set()
            await asyncio.sleep(3600)

    reading = TrackedSource(Waiting())

    async def send():
        assert [chunk async for chunk in reading.chunks(0, 11)]

    sending = asyncio.create_task(send())
    await waiting.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not reading.broken


async def test_a_reader_that_leaves_does_not_blame_the_source():
    reading = TrackedSource(Slow())
    chunks = reading.chunks(0, 11)
    assert await anext(chunks) == b"first"
    await chunks.aclose()
    assert not reading.broken


async def test_an_answer_that_there_is_no_such_object_ends_an_outage():
    requests = ObjectRequests(None, "bucket", None)

    async def fails():
        raise ObjectStoreError("away")

    async def answers():
        raise ObjectMissing("key")

    with pytest.raises(ObjectStoreError):
        await requests.insist(fails, RetryBudget(0))
    assert requests.away
    with pytest.raises(ObjectMissing):
        await requests.insist(answers, RetryBudget(0))
    assert not requests.away
