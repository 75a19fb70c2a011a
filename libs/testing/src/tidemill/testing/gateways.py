"""Gateways as processes of their own, with the real servers behind them and nothing else."""

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import psutil

from tidemill.contracts.ids import new_id
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.stack import Durability, NatsServer, ObjectServer
from tidemill.stack.processes.ports import PortReservations
from tidemill.testing import rows
from tidemill.testing.running import until
from tidemill.testing.servers import SIGNING_KEY, migrated, started

STOP_WITHIN_S: Final = 10.0


class Gateways(NamedTuple):
    """`account` has no limits; `headers` are those of its token."""

    urls: list[str]
    pids: list[int]
    public_url: str  # what stands in the gateways' answers
    database: Database
    bus: Bus
    account: str
    headers: dict[str, str]
    logs: list[Path]

    def memory_bytes(self, gateway: int = 0) -> int:
        return int(psutil.Process(self.pids[gateway]).memory_info().rss)

    def cpu_s(self, gateway: int = 0) -> float:
        times = psutil.Process(self.pids[gateway]).cpu_times()
        return float(times.user + times.system)


@contextlib.asynccontextmanager
async def gateways(directory: Path, count: int = 1, settings: dict[str, str] | None = None) -> AsyncIterator[Gateways]:
    async with contextlib.AsyncExitStack() as stack:
        nats = await stack.enter_async_context(started(NatsServer(directory / "nats")))
        postgres = await stack.enter_async_context(migrated(directory / "postgres", Durability()))
        objects = await stack.enter_async_context(started(ObjectServer(directory / "objects")))
        database = await stack.enter_async_context(Database(postgres.url))
        bus = await stack.enter_async_context(Bus(nats.url, "test"))
        account = await rows.account(database, new_id(), unlimited=True)
        headers = await rows.token(database, account)
        env = {
            **os.environ,
            "TIDEMILL_DATABASE_URL": postgres.url,
            "TIDEMILL_NATS_URL": nats.url,
            "TIDEMILL_S3_URL": objects.url,
            "TIDEMILL_S3_ACCESS_KEY": objects.access_key,
            "TIDEMILL_S3_SECRET_KEY": objects.secret_key,
            "TIDEMILL_SIGNING_KEY": SIGNING_KEY,
            "TIDEMILL_LOG_LEVEL": "warning",
            "TIDEMILL_DRAIN_S": "0.1",
            **(settings or {}),
        }
        reservations = PortReservations()
        ports = [reservations.choose() for _ in range(count)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        env.setdefault("TIDEMILL_PUBLIC_URLS", urls[0])
        pids = [await stack.enter_async_context(_gateway(directory, env, port)) for port in ports]
        for url in urls:
            await until(f"the gateway at {url}", functools.partial(_answers, url, headers))
        logs = [_log(directory, port) for port in ports]
        yield Gateways(urls, pids, env["TIDEMILL_PUBLIC_URLS"].partition(",")[0], database, bus, account, headers, logs)


@contextlib.asynccontextmanager
async def _gateway(directory: Path, env: dict[str, str], port: int) -> AsyncIterator[int]:
    command = str(Path(sys.executable).with_name("tidemill-gateway"))
    with _log(directory, port).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            command, env={**env, "TIDEMILL_PORT": str(port)}, stdout=log, stderr=log
        )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _log(directory: Path, port: int) -> Path:
    return directory / f"gateway-{port}.log"


async def _answers(url: str, headers: dict[str, str]) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/account", headers=headers) as response:
            return response.ok
    except aiohttp.ClientError:
        return False
