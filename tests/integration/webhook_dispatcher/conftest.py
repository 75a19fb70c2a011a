"""The real dispatcher in this process, with the real NATS and PostgreSQL, and receivers that behave as told."""

import asyncio
import contextlib
import json
from typing import NamedTuple

import pytest
from aiohttp import web

from tidemill.contracts import subjects
from tidemill.contracts.events import WebhookEvent
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database
from tidemill.runtime.predictions import announcements, ending
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.security import webhook_signatures
from tidemill.stack import NatsServer
from tidemill.testing import rows
from tidemill.testing.running import until
from tidemill.testing.servers import configured, migrated, started
from tidemill.testing.services import Services
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.main import build

SECRET = webhook_signatures.new_secret()


@pytest.fixture(scope="session")
async def dispatcher_servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dispatcher-servers")
    async with started(NatsServer(directory / "nats")) as nats, migrated(directory / "postgres") as postgres:
        yield nats, postgres


@pytest.fixture
async def config(dispatcher_servers):
    nats, postgres = dispatcher_servers
    async with Database(postgres.url) as database:
        await rows.clear(database)
    return configured(
        Config,
        postgres,
        nats,
        public_urls="https://tide.example",
        egress_allow="127.0.0.0/8",
        retry_scale=0.01,
        look_every_s=0.1,
    )


@pytest.fixture
async def dispatchers(config):
    dispatchers = Services(build, config)
    yield dispatchers
    await dispatchers.close()


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self):
        return self.headers["webhook-id"]

    @property
    def prediction(self):
        return json.loads(self.body)

    @property
    def signed(self):
        timestamp = int(self.headers["webhook-timestamp"])
        return self.headers["webhook-signature"] == webhook_signatures.sign([SECRET], self.id, timestamp, self.body)


class Receiver:
    """Answers with the statuses it was given, the last one for ever; `hang` holds every request back."""

    def __init__(self, *statuses, headers=None):
        self.statuses = list(statuses) or [200]
        self.headers = headers or {}
        self.received, self.answered = [], 0
        self.hang = asyncio.Event()
        self.hang.set()
        self.port = 0

    async def start(self, stack, hosts=("127.0.0.1",)):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for host in hosts:
            site = web.TCPSite(runner, host, self.port)
            await site.start()
            self.port = self.port or site._server.sockets[0].getsockname()[1]

    async def _answer(self, request):
        body = await request.read()
        self.received.append(Received(request.path, dict(request.headers), body))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        await self.hang.wait()
        self.answered += 1
        return web.Response(text=f"answer to {request.path}", status=status, headers=self.headers)

    def url(self, path="hook", host="127.0.0.1"):
        return f"http://{host}:{self.port}/{path}"


@pytest.fixture
async def receiver():
    """Makes receivers; all are released at the end, so that none holds the dispatcher up."""
    made = []
    async with contextlib.AsyncExitStack() as stack:

        async def make(*statuses, hosts=("127.0.0.1",), headers=None):
            made.append(Receiver(*statuses, headers=headers))
            await made[-1].start(stack, hosts)
            return made[-1]

        yield make
        for each in made:
            each.hang.set()


@pytest.fixture(autouse=True)
def _released_before_the_dispatchers_stop(dispatchers, receiver):
    """Receivers are asked for after the dispatchers, so that they are let go before these wait for their tries."""


class Rows:
    def __init__(self, database, bus):
        self.database = database
        self._bus = bus
        self._connection = database.dedicated_connection()

    async def account(self, name):
        await rows.account(self.database, name, webhook_secret=SECRET)

    async def prediction(self, webhook, *, account="a", events=None, status="processing"):
        await self.account(account)
        return await rows.prediction(
            self.database, account_id=account, webhook=webhook, webhook_events=events, status=status
        )

    async def end(self, *predictions, announce=True):
        outcomes = [
            Outcome(id=each, attempt=1, status=Status.SUCCEEDED, output='"done"', logs="", completed_at=now())
            for each in predictions
        ]
        ended = await ending.end(self._connection, outcomes)
        if announce:
            await announcements.announce(self._bus, [(ended[each.id], each) for each in outcomes if each.id in ended])

    async def event(self, prediction, event):
        await self._bus.send(subjects.WEBHOOK, WebhookEvent(id=prediction, event=event))

    async def delivery(self, prediction):
        return await self.database.row(
            "SELECT * FROM webhook_delivery WHERE prediction_id = $1 AND event = 'completed'", prediction
        )

    async def finished(self, prediction):
        async def check():
            row = await self.delivery(prediction)
            return row if row is not None and row["status"] != "pending" else None

        return await until("the delivery to be finished", check)


@pytest.fixture(name="rows")
async def made_rows(database, bus):
    return Rows(database, bus)
