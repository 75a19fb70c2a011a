"""GET /webhooks/listen and the command that forwards it: signed as the real ones, in order, one's own alone."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle, WebhookEvent
from tidemill.contracts.prediction import Status
from tidemill.gateway.live.listening import ACCOUNT_LISTENERS_LIMIT
from tidemill.testing.running import until

SECRET = "whsec_dGVzdA=="


class Listening:
    """A connection to the stream; `shown` has the data of its events."""

    def __init__(self, response):
        self.response = response
        self.shown, self.ids = [], []
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self.response.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "data":
                self.shown.append(json.loads(value))
            elif field == "id":
                self.ids.append(value)

    def events(self, prediction):
        return [each["event"] for each in self.shown if each["prediction"] == prediction]


@pytest.fixture
async def listen(gateway):
    async with contextlib.AsyncExitStack() as stack:

        async def connect(account, query="", **headers):
            response = await stack.enter_async_context(
                gateway.http.get(
                    f"{gateway.url}/v1/webhooks/listen{query}", headers={**account.headers, **headers}, timeout=None
                )
            )
            assert response.status == 200
            assert await response.content.readline() == b": listening\n"
            connected = Listening(response)
            stack.callback(connected.task.cancel)
            return connected

        yield connect


@pytest.fixture
def begin(gateway, echo):
    """Creates a prediction and tells of its start, as a worker would."""

    async def create(account, webhook="https://hook.example/x", events=None):
        body = {"input": {"text": "x"}, "webhook": webhook, "webhook_events_filter": events}
        async with gateway.http.post(
            f"{gateway.url}/v1/models/{echo}/predictions", json=body, headers=account.headers
        ) as answer:
            assert answer.status == 201, await answer.text()
            prediction = (await answer.json())["id"]
        await gateway.parts.database.execute(
            "UPDATE prediction SET status = 'processing', started_at = now() WHERE id = $1", prediction
        )
        event = Lifecycle(
            id=prediction, account=account.id, model="", version="", status=Status.PROCESSING, partial=True
        )
        await gateway.parts.bus.send(subjects.prediction(account.id, "started", "g"), event)
        return prediction

    return create


async def hint(gateway, prediction, event):
    await gateway.parts.bus.send(subjects.WEBHOOK, WebhookEvent(id=prediction, event=event))


async def test_a_listener_sees_what_the_receiver_gets(gateway, alice, listen, begin, finish):
    listening = await listen(alice)
    prediction = await begin(alice, events=["start", "output", "logs", "completed"])
    await until("the start", lambda: listening.events(prediction) == ["start"])
    await hint(gateway, prediction, "output")
    await hint(gateway, prediction, "output")
    await until("the output", lambda: len(listening.shown) == 2)
    await finish(prediction)
    await until("the end", lambda: len(listening.shown) == 3)
    await hint(gateway, prediction, "output")
    other = await begin(alice)
    await finish(other)
    await until("the next end", lambda: listening.events(other))
    assert listening.events(prediction) == ["start", "output", "completed"]
    assert listening.events(other) == ["completed"]
    for each in listening.shown:
        assert Webhook(SECRET).verify(each["body"].encode(), each["headers"])["id"] == each["prediction"]
        assert each["url"] == "https://hook.example/x"
    real = await gateway.parts.database.value("SELECT id FROM webhook_delivery WHERE prediction_id = $1", prediction)
    assert listening.shown[2]["headers"]["webhook-id"] == real == listening.ids[0]
    assert json.loads(listening.shown[2]["body"])["output"] == "done"


async def test_what_is_somebody_elses_is_not_heard(gateway, alice, mallory, listen, begin, finish):
    theirs, own = await listen(mallory, "?all=true"), await listen(alice)
    prediction = await begin(alice)
    await hint(gateway, prediction, "output")
    await finish(prediction)
    await until("its owner to hear", lambda: "completed" in own.events(prediction))
    marker = await begin(mallory, webhook=None)
    await finish(marker)
    await until("the end", lambda: "completed" in theirs.events(marker))
    assert {each["prediction"] for each in theirs.shown} == {marker}


async def test_predictions_without_a_webhook_are_shown_on_request(gateway, alice, listen, begin, finish):
    some, every = await listen(alice), await listen(alice, "?all=true")
    silent = await begin(alice, webhook=None)
    await finish(silent)
    await until("its end", lambda: "completed" in every.events(silent))
    told = await begin(alice)
    await finish(told)
    await until("the other's end", lambda: some.events(told))
    assert some.events(silent) == []
    assert [each["url"] for each in every.shown if each["prediction"] == silent] == [None, None]


async def test_who_comes_back_hears_of_the_ends_that_were_missed(alice, listen, begin, finish):
    first = await listen(alice)
    heard = await begin(alice)
    await finish(heard)
    await until("the end", lambda: first.ids)
    first.response.close()
    missed = [await begin(alice, events=["start", "completed"]) for _ in range(3)]
    for prediction in missed:
        await finish(prediction)
    again = await listen(alice, **{"Last-Event-ID": first.ids[-1]})
    await until("all three", lambda: len(again.shown) == 3)
    assert [(each["prediction"], each["event"]) for each in again.shown] == [(each, "completed") for each in missed]
    odd = await listen(alice, **{"Last-Event-ID": "msg_' OR true"})
    assert odd.shown == []


async def test_a_revoked_token_hears_no_more_however_much_there_is_to_hear(gateway, alice, listen, begin):
    _, token = await gateway.ask("POST", "/tokens", alice, json={"name": "t", "scopes": ["webhooks:read"]})
    revoked, other = await listen(alice, Authorization=f"Bearer {token['token']}"), await listen(alice)
    before = await begin(alice, events=["start"])
    await until("both to hear", lambda: revoked.events(before) and other.events(before))
    await gateway.ask("DELETE", f"/tokens/{token['id']}", alice)
    after = await begin(alice, events=["start"])
    await until("the other to hear", lambda: other.events(after))
    await until("the connection's end", revoked.task.done)
    assert revoked.events(after) == []


async def test_an_account_has_a_limited_number_of_listeners(gateway, alice, mallory, listen):
    for _ in range(ACCOUNT_LISTENERS_LIMIT):
        await listen(alice)
    async with gateway.http.get(f"{gateway.url}/v1/webhooks/listen", headers=alice.headers) as answer:
        assert answer.status == 409
    await listen(mallory)
    async with gateway.http.head(f"{gateway.url}/v1/webhooks/listen", headers=alice.headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
    async with gateway.http.get(f"{gateway.url}/v1/webhooks/listen?all=2x", headers=alice.headers) as answer:
        assert answer.status == 400


async def test_the_command_forwards_to_a_local_url(gateway, alice, begin, finish, unused_tcp_port):
    received, statuses = [], [200, 500]

    async def take(request):
        received.append((dict(request.headers), await request.read()))
        return web.Response(status=statuses[len(received) - 1])

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    token = alice.headers["Authorization"].removeprefix("Bearer ")
    command = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("tidemill")),
        *("webhooks", "listen", "--forward", f"http://127.0.0.1:{unused_tcp_port}/hook"),
        env={**os.environ, "REPLICATE_BASE_URL": gateway.url, "REPLICATE_API_TOKEN": token, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            assert b"listening" in await command.stderr.readline()
            prediction = await begin(alice)
            await finish(prediction)
            first = (await command.stdout.readline()).decode()
            other = await begin(alice)
            await finish(other)
            second = (await command.stdout.readline()).decode()
    finally:
        command.kill()
        await command.wait()
        await runner.cleanup()
    assert f"completed {prediction} succeeded → 200 OK" in first
    assert f"completed {other} succeeded → 500" in second
    for headers, body in received:
        assert "Authorization" not in headers
        assert Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
