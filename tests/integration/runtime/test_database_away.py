"""The errors of a database that dies or shuts down are transient, and readiness is probed with a new connection."""

import asyncio
import contextlib
import os
import random
import signal

import psutil
import pytest

from tidemill.runtime import readiness
from tidemill.runtime.config import Common
from tidemill.runtime.db import TRANSIENT_ERRORS, Database, retry_transient
from tidemill.runtime.readiness import DatabaseProbe, watch_database
from tidemill.runtime.service import Service
from tidemill.stack import PostgresServer
from tidemill.testing.running import until
from tidemill.testing.servers import UNSYNCED, configured, started

LARGE = "SELECT repeat('x', 100000) FROM generate_series(1, 20)"


@pytest.fixture
async def server(tmp_path):
    async with started(PostgresServer(tmp_path / "postgres", durability=UNSYNCED)) as server:
        yield server


async def transaction(database):
    async with database.transaction() as connection:
        await connection.execute("CREATE TEMP TABLE IF NOT EXISTS t (x int)")
        await connection.fetch("SELECT 1")


async def cut_short(call):
    async with asyncio.timeout(random.random() * 0.03):
        await call


async def ask(database, connection, enough):
    """Run statements of every kind until `enough` is set. Raise errors that are not transient.

    A cancel might not end it: the error of a broken connection may replace the cancelation.
    """
    calls = (
        lambda: database.fetch(LARGE),
        lambda: transaction(database),
        lambda: connection.fetch(LARGE),
        lambda: cut_short(database.fetch("SELECT pg_sleep(0.02)")),
        lambda: cut_short(connection.fetch("SELECT pg_sleep(0.02)")),
    )
    while not enough.is_set():
        try:
            await random.choice(calls)()
        except TRANSIENT_ERRORS:
            await asyncio.sleep(0.01)


async def die(server, how):
    """Killed, told to quit at once, or some of its backends killed."""
    if how == "backends":
        for backend in psutil.Process(server.process.pid).children()[-4:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                backend.kill()
        return
    if how == "quit":
        os.kill(server.process.pid, signal.SIGQUIT)
        await until("it has ended", lambda: not server.process.alive)
    await server.kill()
    await server.start()


@pytest.mark.timeout(180)
async def test_all_errors_of_a_database_that_dies_during_statements_are_transient(server):
    async with Database(server.url, pool_size=8) as database:
        connections = [database.dedicated_connection() for _ in range(3)]
        enough = asyncio.Event()
        asking = [asyncio.create_task(ask(database, connection, enough), name="ask") for connection in connections * 8]
        for how in ("kill", "quit", "backends"):
            await asyncio.sleep(0.5)
            await die(server, how)
        enough.set()
        await asyncio.gather(*asking)
        assert await retry_transient("ask", lambda: connections[0].fetch("SELECT 1"), give_up_s=90) == [(1,)]


async def test_a_dedicated_connection_survives_a_migration_that_changes_its_statements_columns(server):
    async with Database(server.url) as database:
        await database.execute("CREATE TABLE thing (a int)")
        await database.execute("INSERT INTO thing VALUES (1)")
        connection = database.dedicated_connection(settings={})
        assert await connection.fetch("SELECT * FROM thing") == [(1,)]
        await database.execute("ALTER TABLE thing ADD COLUMN b int")
        assert await retry_transient("ask", lambda: connection.fetch("SELECT * FROM thing")) == [(1, None)]


async def test_a_database_in_smart_shutdown_makes_a_service_unready_while_its_old_connections_work(server, monkeypatch):
    monkeypatch.setattr(readiness, "LOOK_EVERY_S", 0.05)
    service = Service("gateway", configured(Common, server))
    watch_database(service)
    async with Database(server.url) as database:
        running = asyncio.create_task(service.run(), name="service")
        await until("it is ready", lambda: not service.not_ready())
        os.kill(server.process.pid, signal.SIGTERM)
        faults = await until("it is not ready", service.not_ready)
        assert "PostgreSQL serves no new client" in faults["database"]
        assert await database.value("SELECT 1") == 1
        service.stopping.set()
        assert await running == 0


async def test_a_probe_is_content_again_when_the_database_is_back(server):
    probe = DatabaseProbe(server.url)
    await probe.look()
    assert probe.not_ready() is None
    await server.kill()
    await probe.look()
    assert "PostgreSQL serves no new client" in probe.not_ready()
    await server.start()
    await probe.look()
    assert probe.not_ready() is None
