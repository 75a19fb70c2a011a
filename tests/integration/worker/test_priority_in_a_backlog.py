"""Priorities while predictions wait: real rows and the real bus, workers whose children run what the test lets them."""

import asyncio
import contextlib
import json

import msgspec
import pytest

from tidemill.contracts import subjects
from tidemill.contracts.events import Cancel, Job, PriorityWaiting
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import now
from tidemill.runtime.db import Database
from tidemill.runtime.predictions.ending import end
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.stack import NatsServer
from tidemill.testing import rows
from tidemill.testing.running import until
from tidemill.testing.servers import started
from tidemill.worker.handlers.cancels import CancelHandler
from tidemill.worker.runs import urgent_store
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.pulls import JobPulls
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_writer import RunWriter

SLOW_MS = 1000.0  # nothing is sent ahead to so slow a child


class Child:
    def __init__(self):
        self.at = []

    def send(self, body):
        self.at.append(json.loads(body)["id"])

    def cancel(self, prediction_id):
        pass

    def stop(self):
        pass

    def kill(self):
        pass


class Machine:
    """One worker with one instance of the queue."""

    def __init__(self, worker, database, bus, queue):
        self.queue, self.begun = queue, []
        self.writer = RunWriter(worker, database, bus)
        ports = EnginePorts(
            writer=self.writer,
            needs_preparation=lambda _queue: False,
            tariff=lambda _queue: None,
            prepare=None,
            upload=None,
            discard_inputs=lambda _run: None,
            publish_chunk=lambda _run, _frame: None,
        )
        self.table = RunTable(worker)
        ends = RunEnds(self.table, self.writer, ports.discard_inputs)
        self.engine = Engine(self.table, ends, ports)
        self.cancels = CancelHandler(self.table, ends)
        self.pulls = JobPulls(bus, self.table, self.engine)

    async def open(self, stack, bus):
        async def urgent(event):
            self.table.priority_hints.note(event.queue, [event.account])

        await bus.listen(subjects.PRIORITY_WAITING, PriorityWaiting, urgent)
        self.instance = Instance(f"i_{self.table.worker}", self.queue, 0)
        self.instance.child = Child()
        self.table.queue(self.queue).instances[self.instance.id] = self.instance
        task = asyncio.create_task(self.pulls.run())

        async def close():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.pulls.stop()
            await self.engine.wait_until_idle()
            await self.writer.drained()

        stack.push_async_callback(close)

    def start(self):
        self.engine.on_ready(self.instance)

    async def run_one(self):
        """Lets the child do what it is at, or gets next; the prediction's id."""
        await until("work", lambda: self.instance.child.at)
        prediction = self.instance.child.at.pop(0)
        self.begun.append(prediction)
        frame = {"t": "done", "id": prediction, "status": "succeeded", "output": prediction, "ms": SLOW_MS}
        self.engine.on_frames(self.instance, [json.dumps(frame).encode()])
        return prediction

    async def run(self, count):
        return [await self.run_one() for _ in range(count)]


class Line:
    """A queue of its own, and what waits in it."""

    def __init__(self, database, bus, stack):
        self.database, self.bus, self._stack = database, bus, stack
        self.queue = new_id()
        self.names = {}

    async def machine(self):
        machine = Machine(await rows.worker(self.database), self.database, self.bus, self.queue)
        await machine.open(self._stack, self.bus)
        return machine

    async def accept(self, name, *, priority=0, told=True, hint=True):
        """`name` begins with its account's."""
        job = Job(
            id=new_id(),
            attempt=1,
            account=name[0],
            gateway="g",
            input=msgspec.Raw(b"{}"),
            created_at=now(),
            priority=priority,
        )
        self.names[job.id] = name
        await rows.prediction(
            self.database, id=job.id, account_id=job.account, queue=self.queue, input="{}", priority=priority
        )
        if priority and told:
            await self.bus.send(subjects.PRIORITY_WAITING, PriorityWaiting(queue=self.queue, account=job.account))
        if hint:
            await self.hint(job)
        return job

    async def hint(self, job):
        await self.bus.send(subjects.job(self.queue), job)

    def called(self, ids):
        return " ".join(self.names[each] for each in ids)

    async def statuses(self):
        counts = await self.database.fetch(
            "SELECT status, count(*) FROM prediction WHERE queue = $1 GROUP BY 1", self.queue
        )
        return dict(map(tuple, counts))

    async def left(self):
        return await self.database.value("SELECT count(*) FROM urgent WHERE queue = $1", self.queue)


@pytest.fixture(scope="session")
async def nats(tmp_path_factory):
    async with started(NatsServer(tmp_path_factory.mktemp("priorities") / "nats")) as server:
        yield server


@pytest.fixture
async def line(worker_servers, nats):
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus(nats.url, "test", retention_s=3600))
        database = await stack.enter_async_context(Database(worker_servers.url, pool_size=4))
        yield Line(database, bus, stack)


async def test_urgent_ones_run_before_earlier_ordinary_ones_and_nobody_else_waits_for_it(line):
    machine = await line.machine()
    machine.start()
    ordinary = await line.accept("a1")
    await until("the first to begin", lambda: machine.instance.child.at)
    for name in ("a2", "b1", "a3", "b2", "a4", "b3"):
        await line.accept(name)
    await line.accept("a5", priority=5)
    await line.accept("a6", priority=10)
    await line.accept("a7", priority=5)
    await until("the news", lambda: machine.table.priority_hints.is_contested(line.queue, ordinary))
    order = line.called(await machine.run(10))
    assert order == "a1 a6 b1 a5 b2 a7 b3 a2 a3 a4"
    await machine.writer.drained()
    assert await line.statuses() == {"succeeded": 10}
    assert await line.left() == 0
    assert not machine.table.priority_hints.is_contested(line.queue, ordinary)


async def test_two_workers_run_each_exactly_once(line):
    machines = [await line.machine(), await line.machine()]
    for number in range(60):
        await line.accept(f"{'ab'[number % 2]}{number}", priority=(0, 0, 0, 5, 0, 0, 0, 0, 9, 0)[number % 10])
    for machine in machines:
        machine.start()
    ran = 0
    while ran < 60:
        busy = [machine for machine in machines if machine.instance.child.at]
        if not busy:
            await asyncio.sleep(0.01)
            continue
        for machine in busy:
            await machine.run_one()
            ran += 1
    begun = [each for machine in machines for each in machine.begun]
    assert len(set(begun)) == 60
    for machine in machines:
        await machine.writer.drained()
    assert await line.statuses() == {"succeeded": 60}
    assert await line.left() == 0


async def test_an_instance_that_boots_later_reads_from_the_rows_whose_hints_are_contested(line):
    await line.accept("a1")
    await line.accept("a2", priority=1)
    machine = await line.machine()
    assert await urgent_store.contested(line.database, [line.queue]) == [(line.queue, "a")]
    machine.table.priority_hints.note(line.queue, ["a"])
    machine.start()
    assert line.called(await machine.run(2)) == "a2 a1"


async def test_without_any_news_the_urgent_hint_itself_still_runs_once(line):
    machine = await line.machine()
    for name in ("a1", "a2"):
        await line.accept(name)
    await line.accept("a3", priority=1, told=False)
    machine.start()
    assert line.called(await machine.run(3)) == "a1 a2 a3"


async def test_canceled_ones_leave_their_turn_to_what_they_displaced(line):
    machine = await line.machine()
    machine.start()
    await line.accept("a1")
    await until("the first to begin", lambda: machine.instance.child.at)
    await line.accept("a2")
    urgent = await line.accept("a3", priority=1)
    ordinary = await line.accept("a4")
    await until("the news", lambda: machine.table.priority_hints.is_contested(line.queue, ordinary))
    assert line.called(await machine.run(1)) == "a1"
    await until("the urgent one to begin", lambda: machine.instance.child.at == [urgent.id])
    lane = line.database.dedicated_connection()
    ended = await end(lane, [Outcome(id=urgent.id, attempt=1, status=Status.CANCELED, completed_at=now())])
    assert urgent.id in ended
    await machine.cancels.on_cancel(Cancel(id=urgent.id, attempt=1))
    assert line.called(await machine.run(3)) == "a3 a2 a4"
    await machine.writer.drained()
    assert await line.statuses() == {"succeeded": 3, "canceled": 1}
    assert await line.left() == 0


async def test_hints_that_are_repeated_run_nothing_twice(line):
    machine = await line.machine()
    jobs = [await line.accept("a1"), await line.accept("a2", priority=3), await line.accept("a3")]
    await line.hint(jobs[1])
    await line.hint(jobs[1])
    machine.start()
    assert sorted(line.called(await machine.run(3)).split()) == ["a1", "a2", "a3"]
    await line.accept("b1")
    assert line.called(await machine.run(1)) == "b1"
    await until("the repeated hints to be gone", lambda: not machine.table.queue(line.queue).jobs)
    await machine.engine.wait_until_idle()
    assert not machine.instance.child.at
    await machine.writer.drained()
    assert await line.statuses() == {"succeeded": 4}


async def test_a_claim_whose_answer_got_lost_is_found_again(line, monkeypatch):
    machine = await line.machine()
    job = await line.accept("a1", priority=2, hint=False)
    other = await line.accept("a2", priority=1, hint=False)
    real, calls = line.database.transaction, []

    @contextlib.asynccontextmanager
    async def cut_off():
        async with real() as connection:
            yield connection
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionResetError("the answer to the commit got lost")

    monkeypatch.setattr(line.database, "transaction", cut_off)
    taken = await urgent_store.claim_at_hint(line.database, machine.table.worker, line.queue, other, now())
    assert taken.job.id == job.id
    assert taken.more
    assert await line.statuses() == {"processing": 1, "starting": 1}


async def test_what_is_given_back_is_urgent_again_and_a_next_attempt_too(line):
    machine = await line.machine()
    job = await line.accept("a1", priority=2, hint=False)
    await line.accept("a2", priority=1, hint=False)
    for _ in range(2):
        taken = await machine.writer.claim_at_hint(line.queue, job)
        assert (line.names[taken.job.id], taken.job.attempt) == ("a1", 1)
        run = Run(taken.job, line.queue)
        assert await machine.writer.unclaim([run]) == {job.id}
    taken = await machine.writer.claim_at_hint(line.queue, job)
    run = Run(taken.job, line.queue)
    assert await machine.writer.begin_next_attempts([run]) == {job.id}
    taken = await machine.writer.claim_at_hint(line.queue, job)
    assert (line.names[taken.job.id], taken.job.attempt) == ("a1", 2)
