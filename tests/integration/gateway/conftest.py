"""The real gateway on loopback, with the real NATS, PostgreSQL and S3 store, and accounts made by hand."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tidemill.contracts.ids import new_id
from tidemill.gateway.accept import Acceptor
from tidemill.gateway.auth import Accounts
from tidemill.gateway.config import Config
from tidemill.gateway.parts import Parts
from tidemill.gateway.triggers import application
from tidemill.gateway.versions import Versions
from tidemill.gateway.waiting import Waiters
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.migrate import migrate
from tidemill.runtime.objects import Objects
from tidemill.security import tokens
from tidemill.stack import Durability, NatsServer, ObjectServer, PostgresServer


class Account(NamedTuple):
    id: str
    username: str
    headers: dict[str, str]


class Gateway(NamedTuple):
    url: str
    parts: Parts
    app: web.Application
    http: aiohttp.ClientSession


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Config]:
    directory: Path = tmp_path_factory.mktemp("gateway-servers")
    nats = NatsServer(directory / "nats")
    postgres = PostgresServer(directory / "postgres", durability=Durability(fsync=False))
    objects = ObjectServer(directory / "objects")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(nats.kill)
        await nats.start()
        stack.push_async_callback(postgres.remove)
        await postgres.start()
        stack.push_async_callback(objects.kill)
        await objects.start()
        yield Config(
            database_url=postgres.url,
            nats_url=nats.url,
            s3_url=objects.url,
            s3_access_key=objects.access_key,
            s3_secret_key=objects.secret_key,
            signing_key="5a" * 32,
            cors_origins="https://app.example",
        )


@pytest.fixture(scope="session")
async def gateway(servers: Config) -> AsyncIterator[Gateway]:
    database = Database(servers.database_url)
    bus = Bus(servers.nats_url, "test")
    async with database, bus, Objects(servers) as objects, aiohttp.ClientSession() as http:
        await migrate(database)
        name = new_id()
        parts = Parts(
            config=servers,
            gateway=name,
            database=database,
            ending=database.lane(),
            bus=bus,
            objects=objects,
            accounts=Accounts(database, 5),
            versions=Versions(database, 5),
            acceptor=Acceptor(database.lane(), bus, name, 5),
            waiters=Waiters(database, 1),
        )
        app = application(parts)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Gateway(f"http://{host}:{port}", parts, app, http)
        await runner.cleanup()


async def _account(gateway: Gateway) -> Account:
    identifier, token = new_id(), tokens.new_token()
    database = gateway.parts.database
    await database.execute(
        "INSERT INTO account (id, username, name, webhook_secret) VALUES ($1, $2, $2, 'whsec_dGVzdA==')",
        identifier,
        f"user-{identifier}",
    )
    await database.execute(
        "INSERT INTO token (id, account_id, name, digest, last4) VALUES ($1, $2, 'test', $3, 'test')",
        new_id(),
        identifier,
        tokens.digest(token),
    )
    return Account(identifier, f"user-{identifier}", {"Authorization": f"Bearer {token}"})


@pytest.fixture
async def alice(gateway: Gateway) -> Account:
    return await _account(gateway)


@pytest.fixture
async def mallory(gateway: Gateway) -> Account:
    """Somebody else."""
    return await _account(gateway)


@pytest.fixture
async def connection(servers: Config, gateway: Gateway) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(servers.database_url)
    yield connection
    await connection.close()
