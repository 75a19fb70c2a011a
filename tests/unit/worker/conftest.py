"""The engine with a fake child and a fake writer, which record what they are asked to do."""

import asyncio
import json
import os

import msgspec
import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Job
from tidemill.hosting.child.failures import ChildFailure
from tidemill.runtime.clock import now
from tidemill.worker.handlers.cancels import CancelHandler
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.ports import EnginePorts
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.urgent_store import ClaimedAtHint
from tidemill.worker.runs.watchdog import Watchdog


class FakeChild:
    def __init__(self):
        self.sent, self.canceled, self.killed = [], [], False

    def send(self, body):
        self.sent.append(json.loads(body)["id"])

    def cancel(self, prediction_id):
        self.canceled.append(prediction_id)

    def stop(self):
        pass

    def kill(self):
        self.killed = True


class FakeWriter:
    def __init__(self):
        self.claimed, self.ended, self.retried, self.unclaimed = [], [], [], []
        self.on_lost, self.turns = {}, {}

    def claim(self, run, on_lost):
        run.claimed = True
        self.claimed.append(run.job.id)
        self.on_lost[run.job.id] = on_lost

    async def claim_at_hint(self, _queue, hint):
        return self.turns.pop(hint.id, ClaimedAtHint())

    async def unclaim(self, runs):
        self.unclaimed += [run.job.id for run in runs]
        return {run.job.id for run in runs}

    def end(self, outcome, _chunks):
        self.ended.append(outcome)

    async def begin_next_attempts(self, runs):
        self.retried += [run.job.id for run in runs]
        return {run.job.id for run in runs}


class World:
    def __init__(self, *, files=False, concurrency=1):
        self.writer = FakeWriter()
        self.gate = asyncio.Event()
        self.chunks, self.discarded = [], []
        self.prepare_error = self.tariff = None
        ports = EnginePorts(
            writer=self.writer,
            needs_preparation=lambda _queue: files,
            tariff=lambda _queue: self.tariff,
            prepare=self.prepare,
            upload=self.upload,
            discard_inputs=lambda run: self.discarded.append(run.job.id),
            publish_chunk=lambda run, frame: self.chunks.append((run.job.id, frame)),
        )
        self.table = RunTable("w")
        self.ends = RunEnds(self.table, self.writer, ports.discard_inputs)
        self.engine = Engine(self.table, self.ends, ports)
        self.cancels = CancelHandler(self.table, self.ends)
        self.watchdog = Watchdog(self.table, self.ends, time_limit_s=100, kill_after_s=0.0)
        self.instance = self.add(concurrency)

    def add(self, concurrency=1):
        instance = Instance(f"i{len(self.table.queue('q').instances)}", "q", 0)
        instance.child, instance.concurrency = FakeChild(), concurrency
        self.table.queue("q").instances[instance.id] = instance
        self.engine.on_ready(instance)
        return instance

    async def prepare(self, _instance, _run):
        await self.gate.wait()
        if self.prepare_error:
            raise self.prepare_error
        return b'{"image":"/tmp/x"}'

    async def upload(self, _run, _value, _files, fds):
        for fd in fds:
            os.close(fd)
        await self.gate.wait()
        return msgspec.Raw(b'"https://files/1"')

    def job(self, name, **more):
        fields = {"attempt": 1, "account": "a", "gateway": "g", "input": msgspec.Raw(b"{}"), "created_at": now()}
        job = Job(id=name, **(fields | more))
        self.engine.on_job("q", msgspec.json.encode(job), 0)

    def say(self, instance=None, **frame):
        self.engine.on_frames(instance or self.instance, [json.dumps(frame).encode()])

    def print(self, text, *ids):
        self.engine.on_text(self.instance, ids, text)

    def crash(self):
        self.engine.on_exit(
            self.instance, ChildFailure("The model's process ended: signal 11.", ErrorCode.MODEL_CRASHED)
        )

    def done(self, name, output="ok", status="succeeded", ms=0.1, **more):
        self.say(t="done", id=name, status=status, output=output, ms=ms, **more)

    def warm_up(self):
        """Runs so many short ones that further jobs are sent ahead to the instance."""
        for number in range(20):
            self.job(f"warm{number}")
            self.done(f"warm{number}")

    @property
    def ended(self):
        return {outcome.id: outcome for outcome in self.writer.ended}


@pytest.fixture
def new_world():
    return World
