"""The real gateway on loopback, with the real NATS, PostgreSQL and S3 store, and accounts made by hand."""

import asyncio
import contextlib
import functools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from msgspec import Raw

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.gateway.access.connections import ThrottlingRunner
from tidemill.gateway.config import Config
from tidemill.gateway.events.auth_callout import AuthCallout
from tidemill.gateway.events.connection_monitor import ConnectionMonitor
from tidemill.gateway.main import listen_to_bus, timers
from tidemill.gateway.parts import Parts, assemble
from tidemill.gateway.triggers import application
from tidemill.runtime.clock import now
from tidemill.runtime.predictions import announcements, ending, outcome
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.stack import NatsServer, ObjectServer
from tidemill.testing import rows
from tidemill.testing.servers import configured, migrated, started

PROGRAM = Path(sys.executable).with_name("tidemill")


class Account(NamedTuple):
    id: str
    username: str
    headers: dict[str, str]


class Gateway(NamedTuple):
    url: str
    parts: Parts
    app: web.Application
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, who: Account | str, **request: Any) -> tuple[int, Any]:
        """The API, as an account or with a token: (status, JSON or text, None for none)."""
        headers = {"Authorization": f"Bearer {who}"} if isinstance(who, str) else who.headers
        headers = {**headers, **request.pop("headers", {})}
        async with self.http.request(method, f"{self.url}/v1{path}", headers=headers, **request) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            return response.status, (json.loads(text) if is_json else text) if text else None


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Config]:
    directory: Path = tmp_path_factory.mktemp("gateway-servers")
    async with (
        started(NatsServer(directory / "nats")) as nats,
        migrated(directory / "postgres") as postgres,
        started(ObjectServer(directory / "objects")) as objects,
    ):
        yield configured(
            Config,
            postgres,
            nats,
            objects,
            nats_public_url=nats.public_url,
            nats_callout_seed=nats.callout_seed,
            cors_origins="https://app.example",
        )


@contextlib.asynccontextmanager
async def running(servers: Config) -> AsyncIterator[Gateway]:
    parts = assemble(servers)
    async with parts.database, parts.bus, parts.objects, aiohttp.ClientSession() as http:
        await listen_to_bus(parts)
        tasks = [asyncio.create_task(timer(), name=name) for name, timer in timers(parts)]
        app = application(parts)
        runner = ThrottlingRunner(app, parts.refusal_cache, access_log=None, auto_decompress=False, shutdown_timeout=5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Gateway(f"http://{host}:{port}", parts, app, http)
        await runner.cleanup()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(scope="session")
async def gateway(servers: Config) -> AsyncIterator[Gateway]:
    async with running(servers) as gateway:
        yield gateway


@pytest.fixture
def start_gateway() -> Callable[[Config], AbstractAsyncContextManager[Gateway]]:
    """Another gateway beside the first."""
    return running


async def _account(gateway: Gateway) -> Account:
    database, identifier = gateway.parts.database, new_id()
    username = f"user-{identifier}"
    await rows.account(database, identifier, username=username, name=username)
    return Account(identifier, username, await rows.token(database, identifier))


@pytest.fixture
async def alice(gateway: Gateway) -> Account:
    return await _account(gateway)


@pytest.fixture
async def mallory(gateway: Gateway) -> Account:
    """Somebody else."""
    return await _account(gateway)


@pytest.fixture(scope="session")
def new_account(gateway: Gateway) -> Callable[[], Awaitable[Account]]:
    """Makes as many others as a test needs."""
    return functools.partial(_account, gateway)


@pytest.fixture
def ask(gateway: Gateway, alice: Account) -> Callable[..., Awaitable[tuple[int, Any]]]:
    """Asks the API for something, as Alice if not as another; (status, body)."""

    async def ask(
        method: str, path: str, body: object = None, account: Account = alice, **headers: str
    ) -> tuple[int, Any]:
        return await gateway.ask(method, path, account, json=body, headers=headers)

    return ask


@pytest.fixture
async def connection(servers: Config, gateway: Gateway) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(servers.database_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def echo(gateway: Gateway) -> str:
    """owner/name of a public model that takes `text` and a secret `key`; nobody runs it."""
    database, owner, name, queue = gateway.parts.database, (await _account(gateway)), f"echo-{new_id()}", new_id()
    model = await rows.model(database, owner.id, owner=owner.username, name=name, latest_queue=queue)
    properties = {
        "text": {"type": "string"},
        "key": {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
    }
    schema = rows.schema(Input={"type": "object", "properties": properties, "required": ["text"]})
    await rows.version(database, model, queue=queue, openapi_schema=schema)
    return f"{owner.username}/{name}"


@pytest.fixture
def finish(gateway: Gateway) -> Callable[..., Awaitable[None]]:
    """Ends a prediction as a worker would, and tells of it."""

    async def end(prediction_id: str, output: object = "done", status: Status = Status.SUCCEEDED) -> None:
        row = await gateway.parts.database.row(
            "SELECT attempt, created_at FROM prediction WHERE id = $1", prediction_id
        )
        assert row is not None
        completed_at = now()
        ended = Outcome(
            id=prediction_id,
            attempt=row["attempt"],
            status=status,
            output=json.dumps(output),
            logs="log\n",
            metrics=outcome.metrics(completed_at - 1, row["created_at"].timestamp(), completed_at),
            started_at=completed_at - 1,
            completed_at=completed_at,
        )
        done = await ending.end(gateway.parts.ending_connection, [ended])
        await announcements.announce(gateway.parts.bus, [(done[prediction_id], ended)])

    return end


@pytest.fixture
def tidemill(gateway: Gateway, servers: Config, tmp_path: Path) -> Callable[..., Awaitable[str]]:
    """Runs the command as an account, or (None) as the operator. Answers what it printed; asserts its exit status."""

    async def run(account: Account | str | None, *arguments: str, status: int = 0) -> str:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "REPLICATE_BASE_URL": gateway.url}
        if account is None:
            environment["TIDEMILL_DATABASE_URL"] = servers.database_url
        else:
            token = account if isinstance(account, str) else account.headers["Authorization"].partition(" ")[2]
            environment["REPLICATE_API_TOKEN"] = token
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == status, errors.decode()
        return (errors if status else output).decode()

    return run


class Events(NamedTuple):
    """The gateway with the part that lets outside subscribers in."""

    gateway: Gateway
    watch: ConnectionMonitor

    async def announce(
        self,
        account: Account,
        kind: subjects.Kind = "prediction",
        name: subjects.EventName = "completed",
        output: bytes = b'"hello"',
    ) -> str:
        """Announces a move of a prediction that is in no table; its id."""
        event = Lifecycle(
            id=new_id(),
            account=account.id,
            model="a/b",
            version="v",
            status=Status.SUCCEEDED if name == "completed" else Status.PROCESSING,
            output=Raw(output),
        )
        await self.gateway.parts.bus.announce([announcements.announcement(event, name, "gateway", kind)])
        return event.id


@pytest.fixture(scope="session")
async def events(gateway: Gateway) -> AsyncIterator[Events]:
    parts = gateway.parts
    callout = AuthCallout(
        parts.config.nats_callout_seed,
        parts.bus,
        parts.database,
        parts.callers,
        parts.durable_consumers,
        subscribers=parts.external_subscribers,
    )
    await callout.listen()
    task = asyncio.create_task(callout.run())
    yield Events(gateway, ConnectionMonitor(parts.bus, parts.database, parts.external_subscribers, 3600))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
