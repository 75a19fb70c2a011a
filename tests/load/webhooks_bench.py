"""How long a receiver that hangs delays the first deliveries of other accounts: hardly, or this says so.

`python tests/load/webhooks_bench.py [--stuck 10000] [--seconds 15] [--rate 40]`. The real dispatcher as a process, the
real NATS and PostgreSQL. A delivery's time is from the commit of its prediction's end to the receiver's having it.
Exits with 1 when the 99th percentile is over two seconds.
"""

import argparse
import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from aiohttp import web

from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.predictions import announcements, ending
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.stack import Durability, NatsServer
from tidemill.stack.processes.ports import PortReservations
from tidemill.testing import rows
from tidemill.testing.servers import SIGNING_KEY, migrated, started

ACCOUNTS = 20
BATCH = 250
LIMIT_S = 2.0
INSERT = """
INSERT INTO prediction (id, account_id, model, version, queue, gateway, input, webhook, status, created_at)
SELECT unnest($1::text[]), unnest($2::text[]), 'a/m', 'v', 'q', 'g', '{}', unnest($3::text[]), 'processing', now()"""


class World:
    def __init__(self, database, bus, hanging, quick):
        self.database, self.bus = database, bus
        self.hanging, self.quick = hanging, quick
        self.connection = database.dedicated_connection()
        self.ended_at, self.received_at = {}, {}

    async def accounts(self):
        for name in ("noisy", *(f"quiet{n}" for n in range(ACCOUNTS))):
            await rows.account(self.database, name)

    async def end(self, places):
        """Predictions of (account, base URL) that end now; their ids."""
        ids = [new_id() for _ in places]
        urls = [f"{url}/{each}" for each, (_, url) in zip(ids, places, strict=True)]
        await self.database.execute(INSERT, ids, [account for account, _ in places], urls)
        outcomes = [
            Outcome(id=each, attempt=1, status=Status.SUCCEEDED, output='"x"', logs="", completed_at=time.time())
            for each in ids
        ]
        ended = await ending.end(self.connection, outcomes)
        self.ended_at |= dict.fromkeys(ids, time.monotonic())
        await announcements.announce(self.bus, [(ended[each.id], each) for each in outcomes])
        return ids

    async def quick_hook(self, request):
        self.received_at.setdefault(request.match_info["id"], time.monotonic())
        await request.read()
        return web.Response()

    async def hanging_hook(self, request):
        await request.read()
        await asyncio.sleep(3600)

    async def quiet_ends(self, rate, seconds):
        """At this rate, of random accounts; their delays in seconds, sorted."""
        sent, until = set(), time.monotonic() + seconds
        while time.monotonic() < until:
            sent |= set(await self.end([(f"quiet{random.randrange(ACCOUNTS)}", self.quick)]))
            await asyncio.sleep(random.expovariate(rate))
        deadline = time.monotonic() + 30
        while sent - set(self.received_at) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        lost = sent - set(self.received_at)
        assert not lost, f"{len(lost)} of {len(sent)} deliveries did not arrive"
        return sorted(self.received_at[each] - self.ended_at[each] for each in sent)


def table(name, delays):
    p99 = delays[int(len(delays) * 0.99)]
    figures = {"p50": delays[len(delays) // 2], "p99": p99, "max": delays[-1]}
    told = "  ".join(f"{each} {seconds * 1e3:7.1f} ms" for each, seconds in figures.items())
    print(f"{name:28} {len(delays):5} deliveries  {told}")
    return p99


@contextlib.asynccontextmanager
async def world(directory):
    async with contextlib.AsyncExitStack() as stack:
        nats = await stack.enter_async_context(started(NatsServer(directory / "nats")))
        postgres = await stack.enter_async_context(migrated(directory / "postgres", Durability()))
        database = await stack.enter_async_context(Database(postgres.url))
        bus = await stack.enter_async_context(Bus(nats.url, "bench"))
        reservations = PortReservations()
        made = World(database, bus, *(f"http://127.0.0.1:{reservations.choose()}" for _ in range(2)))
        await made.accounts()
        for url, handler in ((made.hanging, made.hanging_hook), (made.quick, made.quick_hook)):
            app = web.Application()
            app.router.add_post("/{id}", handler)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", int(url.rsplit(":", 1)[1])).start()
        env = {
            **os.environ,
            "TIDEMILL_DATABASE_URL": postgres.url,
            "TIDEMILL_NATS_URL": nats.url,
            "TIDEMILL_SIGNING_KEY": SIGNING_KEY,
            "TIDEMILL_EGRESS_ALLOW": "127.0.0.0/8",
            "TIDEMILL_LOG_LEVEL": "error",
            "TIDEMILL_DRAIN_S": "0.1",
        }
        command = str(Path(sys.executable).with_name("tidemill-webhook-dispatcher"))
        dispatcher = await asyncio.create_subprocess_exec(command, env=env)

        async def stop():
            dispatcher.terminate()
            await dispatcher.wait()

        stack.push_async_callback(stop)
        yield made


async def main(options):
    with tempfile.TemporaryDirectory() as directory:
        async with world(Path(directory)) as made:
            await made.quiet_ends(5, 2)  # everything is up and connected
            table("alone", await made.quiet_ends(options.rate, options.seconds / 3))
            for _ in range(options.stuck // BATCH):
                await made.end([("noisy", made.hanging)] * BATCH)
            first = table("a receiver begins to hang", await made.quiet_ends(options.rate, options.seconds))

            async def more():
                while True:
                    await made.end([("noisy", made.hanging)] * 20)
                    await asyncio.sleep(0.25)

            noise = asyncio.create_task(more())
            second = table("and 80 more come a second", await made.quiet_ends(options.rate, options.seconds))
            noise.cancel()
            await asyncio.gather(noise, return_exceptions=True)
            row = await made.database.row("SELECT * FROM webhook_endpoint WHERE account_id = 'noisy'")
            print(f"the endpoint: {row['failures']} failures, breaker opened {row['openings']} times")
    return max(first, second) > LIMIT_S


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stuck", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rate", type=float, default=40)
    sys.exit(asyncio.run(main(parser.parse_args())))
