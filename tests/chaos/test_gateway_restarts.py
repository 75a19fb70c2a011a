"""Fifty requests a second on a whole stack, through every way in which its one gateway is replaced."""

import asyncio
import itertools
import signal
from contextlib import asynccontextmanager

import aiohttp
from crowd import MODEL

from tidemill.testing.running import until

EVERY_S = 0.02
LEAD = 50  # requests before and after what happens
WITHIN_S = 300
# What a client sees of a connection that ends amid a request; a port that nobody listens on is another error.
BROKEN_OFF = {aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError}


class Load:
    """Creates, blocking creates and reads, over connections that stay open."""

    def __init__(self, session):
        self._session = session
        self._tasks = set()
        self.answered = 0
        self.failed = []  # (what, error), of requests that got no answer or a wrong one

    async def run(self):
        for kind in itertools.cycle(["create", "get", "wait", "list"]):
            task = asyncio.create_task(self._one(kind))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(EVERY_S)

    async def finish(self):
        await asyncio.gather(*self._tasks)

    async def _one(self, kind):
        try:
            status = await self._request(kind)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failed.append((kind, error))
        else:
            if status not in (200, 201):
                self.failed.append((kind, status))
        self.answered += 1

    async def _request(self, kind):
        if kind in ("get", "list"):
            path = "/v1/account" if kind == "get" else "/v1/predictions"
            async with self._session.get(path) as response:
                await response.read()
                return response.status
        headers = {"Prefer": "wait=10"} if kind == "wait" else {}
        body = {"input": {"text": "x"}}
        async with self._session.post(f"/v1/models/{MODEL}/predictions", json=body, headers=headers) as response:
            await response.read()
            return response.status


@asynccontextmanager
async def load_on(stack):
    timeout = aiohttp.ClientTimeout(total=WITHIN_S)
    headers = {"Authorization": f"Bearer {stack.token}"}
    async with aiohttp.ClientSession(base_url=stack.base_url, headers=headers, timeout=timeout) as session:
        load = Load(session)
        sending = asyncio.create_task(load.run())
        await until("some answers", lambda: load.answered > LEAD)
        try:
            yield load
            after = load.answered
            await until("answers afterwards", lambda: load.answered > after + LEAD)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await load.finish()


async def test_a_gateway_that_is_told_to_stop_is_followed_by_another_without_a_failed_request(stack):
    async with load_on(stack) as load:
        stopped = stack.signal("gateway", signal.SIGTERM)
        await until("the next gateway", lambda: stack.pid_or_none("gateway") not in (stopped, None))
    assert load.failed == []


async def test_a_second_up_replaces_all_services_without_a_failed_request(stack):
    before = {name: stack.pid(name) for name in ("gateway", "scheduler", "worker", "webhook-dispatcher")}
    stack.settings["TIDEMILL_TOKEN_CACHE_S"] = "4"
    async with load_on(stack) as load:
        await asyncio.to_thread(stack.up, "--no-catalogue")
    assert load.failed == []
    assert all(stack.pid(name) != pid for name, pid in before.items())


async def test_a_killed_gateway_loses_only_what_it_was_answering(stack):
    """Nobody is refused: connections wait for the next one."""
    async with load_on(stack) as load:
        for _ in range(2):
            killed = stack.signal("gateway")
            await until("the next gateway", lambda killed=killed: stack.pid_or_none("gateway") not in (killed, None))
            at = load.answered
            await until("answers in between", lambda at=at: load.answered > at + LEAD)
    assert {type(error) for _, error in load.failed} <= BROKEN_OFF
