"""The real scheduler in this process, with the real NATS and PostgreSQL, and a worker that only pretends to run."""

import asyncio

import pytest

from tidemill.contracts import subjects
from tidemill.contracts.events import (
    BootInstance,
    Capacity,
    CommandReply,
    Heartbeat,
    InstanceState,
    Job,
    Lifecycle,
    QueueState,
    WorkerCommand,
)
from tidemill.contracts.ids import new_id
from tidemill.runtime.db import Database
from tidemill.scheduler.config import Config
from tidemill.scheduler.main import build
from tidemill.stack import NatsServer
from tidemill.testing import rows
from tidemill.testing.running import until
from tidemill.testing.servers import configured, migrated, started
from tidemill.testing.services import Services


@pytest.fixture(scope="session")
async def scheduler_servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scheduler-servers")
    async with started(NatsServer(directory / "nats")) as nats, migrated(directory / "postgres") as postgres:
        yield nats, postgres


@pytest.fixture
async def config(scheduler_servers):
    """The database is empty at the start of every test."""
    nats, postgres = scheduler_servers
    async with Database(postgres.url) as database:
        await rows.clear(database)
    return configured(
        Config,
        postgres,
        nats,
        republish_after_s=0.2,
        republish_limit_s=0.4,
        sweep_s=0.1,
        lease_grace_s=0.0,
        boot_backoff_s=0.05,
        settle_s=0.3,
        command_timeout_s=2.0,
    )


@pytest.fixture
async def schedulers(config):
    schedulers = Services(build, config)
    yield schedulers
    await schedulers.close()


class FakeWorker:
    """Beats like a worker, does what it is told, and notes it. `boots` says what becomes of a boot."""

    def __init__(self, bus, *, places=4, boots="ready", error=None):
        self.id = f"w_{new_id()}"
        self.places, self.boots, self.error = places, boots, error
        self.instances, self.commands = {}, []
        self.waiting = {}
        self._bus = bus
        self._beating = None

    async def start(self, *, beat_s=0.1):
        await self._bus.serve(subjects.command(self.id), WorkerCommand, self._obey)
        self._beating = asyncio.create_task(self._beat(beat_s))

    async def stop(self):
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _obey(self, command):
        self.commands.append(command)
        if isinstance(command, BootInstance):
            if self.boots == "refused":
                return CommandReply(accepted=False, reason="no")
            self.add(command.instance, command.queue, self.boots, self.error)
        else:
            self.instances.pop(command.instance, None)
        await self.beat()
        return CommandReply(accepted=True)

    def add(self, name, queue, state="ready", error=None, **changes):
        self.instances[name] = InstanceState(id=name, queue=queue, state=state, error=error, age_s=60.0, **changes)

    def booted(self, queue):
        return [each for each in self.commands if isinstance(each, BootInstance) and each.queue == queue]

    async def beat(self):
        queues = {each.queue for each in self.instances.values()}
        await self._bus.send(
            subjects.HEARTBEAT,
            Heartbeat(
                worker=self.id,
                host="test",
                capacity=Capacity(instances=self.places, memory_bytes=1),
                instances=list(self.instances.values()),
                queues=[QueueState(queue=queue, waiting=self.waiting.get(queue, 0)) for queue in queues],
            ),
        )

    async def _beat(self, beat_s):
        while True:
            if self._bus.connected:
                await self.beat()
            await asyncio.sleep(beat_s)


@pytest.fixture
async def make_worker(bus):
    made = []

    def make(**options):
        made.append(FakeWorker(bus, **options))
        return made[-1]

    yield make
    for each in made:
        await each.stop()


@pytest.fixture
async def worker(make_worker):
    return make_worker()


class PredictionRows:
    """Makes what the gateway and the worker would have written."""

    def __init__(self, database):
        self.database = database

    async def queue(self):
        queue = new_id()
        await rows.account(self.database, "a")
        await rows.model(self.database, "a", id=queue)
        return await rows.version(self.database, queue, queue=queue, id=queue)

    async def worker(self, name, lease_s):
        await rows.worker(self.database, id=name, lease_s=lease_s)

    async def prediction(self, queue, **changes):
        return await rows.prediction(self.database, queue=queue, **changes)

    async def get(self, prediction):
        return await self.database.row("SELECT * FROM prediction WHERE id = $1", prediction)

    async def ended(self, prediction):
        async def check():
            row = await self.get(prediction)
            return row if row["completed_at"] is not None else None

        return await until("the prediction to end", check)


@pytest.fixture(name="rows")
async def made_rows(database):
    return PredictionRows(database)


class Heard:
    """Hints and endings, as workers and gateways would hear them."""

    def __init__(self, bus):
        self.jobs, self.ends = [], []
        self._bus = bus

    async def listen(self, queue):
        async def job(event):
            self.jobs.append(event)

        async def end(event):
            self.ends.append(event)

        await self._bus.listen(subjects.job(queue), Job, job)
        await self._bus.listen(subjects.gateway_events("g"), Lifecycle, end)


@pytest.fixture
async def heard(bus):
    return Heard(bus)
