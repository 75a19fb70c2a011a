"""One gateway follows another on the same socket, and nobody who calls meanwhile is refused or cut off."""

import asyncio
import itertools
import socket

import aiohttp
import msgspec
import pytest

from tidemill.gateway.main import build
from tidemill.runtime.service import StartError
from tidemill.testing.ports import OwnPort
from tidemill.testing.running import until

EVERY_S = 0.02  # fifty requests a second
WITHIN_S = 300


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.settimeout(0)
        yield listener


@pytest.fixture
async def begin(servers, listener):
    """Starts another gateway that accepts from the socket, and returns it and what ends it."""
    begun = []

    async def start():
        config = msgspec.structs.replace(servers, listen_fd=listener.dup().detach(), ops_port=OwnPort().number)
        service = await build(config)
        running = asyncio.create_task(service.run())
        begun.append((service, running))
        await until("the gateway", lambda: running.done() or not service.not_ready())
        assert not running.done()
        return service, running

    yield start
    for service, running in begun:
        service.stopping.set()
        await running


@pytest.fixture
async def client(listener, alice):
    host, port = listener.getsockname()
    async with aiohttp.ClientSession(f"http://{host}:{port}", headers=alice.headers) as session:
        yield session


async def test_a_successor_on_the_same_socket_leaves_no_request_without_an_answer(begin, client, echo):
    body = {"version": echo, "input": {"text": "x"}}
    stop, tasks, statuses = asyncio.Event(), set(), []

    async def request(kind):
        headers = {"Prefer": "wait=5"} if kind == "wait" else {}
        if kind == "get":
            async with client.get("/v1/predictions") as response:
                await response.read()
                return response.status
        async with client.post("/v1/predictions", json=body, headers=headers) as response:
            assert (await response.json())["status"] == "starting"
            return response.status

    async def load():
        for kind in itertools.cycle(["create", "get", "wait", "get"]):
            if stop.is_set():
                return
            tasks.add(asyncio.create_task(request(kind)))
            await asyncio.sleep(EVERY_S)

    first, first_runs = await begin()
    loading = asyncio.create_task(load())
    await until("some requests", lambda: len(tasks) > 25)
    await begin()
    first.stopping.set()
    assert await first_runs == 0
    sent = len(tasks)
    await until("more requests", lambda: len(tasks) > sent + 25)
    stop.set()
    await loading
    statuses = await asyncio.gather(*tasks)
    assert set(statuses) == {200, 201}


async def accepted(client):
    async with client.get("/v1/predictions") as response:
        return (await response.json())["results"]


async def test_a_gateway_that_stops_ends_waits_and_connections_politely(begin, client, echo):
    service, running = await begin()
    async with client.get("/v1/account") as response:
        assert "Connection" not in response.headers  # it stays open, and is used by the next request
    body = {"version": echo, "input": {"text": "x"}}
    waiting = asyncio.create_task(client.post("/v1/predictions", json=body, headers={"Prefer": "wait=60"}))
    async with asyncio.timeout(WITHIN_S):
        while not await accepted(client):
            await asyncio.sleep(EVERY_S)
    service.stopping.set()
    async with asyncio.timeout(WITHIN_S):
        response = await waiting
        assert response.status == 201
        assert response.headers["Connection"] == "close"
        assert (await response.json())["status"] == "starting"
        assert await running == 0


async def test_a_descriptor_that_is_no_listening_socket_is_named(servers):
    with socket.socket() as idle:
        config = msgspec.structs.replace(servers, listen_fd=idle.fileno(), ops_port=OwnPort().number)
        with pytest.raises(StartError, match=f"TIDEMILL_LISTEN_FD: descriptor {idle.fileno()} is no listening socket"):
            await (await build(config)).run()
