"""The steps of a boot with fake parts: what it takes is given back, however it ends."""

import asyncio
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from tidemill.contracts.limits import GIB
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.environments.store import Environment, EnvironmentFailed
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.model.host.child_events import ChildExit
from tidemill.testing.tasks import shortly
from tidemill.worker.gpus.choice import Device, GpuGrant
from tidemill.worker.instances.booter import Booter, BootPorts
from tidemill.worker.instances.confinement import Confinement
from tidemill.worker.instances.folders import InstanceFolders
from tidemill.worker.instances.managed_instance import ManagedInstance
from tidemill.worker.runs.instance import Instance

READY = b'{"t":"ready","concurrency":3,"phases":{"import":1}}'
ENVIRONMENT = Environment("digest", "z", Path("/usr/bin/python3"), (), None, ())
GPU = Device("GPU-a", "Made-up GPU", 0, 80 * GIB)


class Child:
    pid, killed = 1, 0

    def kill(self):
        self.killed += 1


class Parts:
    """A machine on which every step succeeds, unless `failures` has an error under its name."""

    def __init__(self, tmp_path, said=(READY,), grant=None, printed=""):
        self.printed = printed
        self.said, self.child, self.held, self.watched, self.failures = said, Child(), [], [], {}
        self.row = {
            "queue": "version",
            "config": msgspec.json.encode(ModelConfig(entry="predict.py:P")),
            "files": b"[]",
            "urgent": ["account"],
            "hardware": "cpu",
        }
        self.noted_accounts, self.learned = [], []
        given = SimpleNamespace(confined=Confinement(required=(), note="denied\n"), about="about", secrets={})
        bundles = SimpleNamespace(acquire=self.acquire, release=self.held.remove)
        queues = SimpleNamespace(
            add=lambda queue, _row: self.learned.append(queue),
            read_tariff=self.step("price"),
            trains=lambda _queue: False,
        )
        fork = SimpleNamespace(zygote=SimpleNamespace(fork=self.fork), spec=None, boot=None, own_uid=None)
        ports = BootPorts(
            database=SimpleNamespace(row=self.read),
            bundles=bundles,
            environments=SimpleNamespace(ensure=self.step("environment", ENVIRONMENT)),
            queue_versions=queues,
            priority_hints=SimpleNamespace(note=lambda *noted: self.noted_accounts.append(noted)),
            gpus=SimpleNamespace(assign=self.step("gpus", grant or GpuGrant())),
            privileges=SimpleNamespace(read=self.step("privileges", given)),
            forks=SimpleNamespace(prepare=self.step("forks", fork)),
            folders=InstanceFolders(tmp_path),
            egress_proxies=None,
            monitor=SimpleNamespace(fresh_kernel_kills=lambda: 0, watch=self.watched.append),
        )
        engine = SimpleNamespace(on_exit=lambda _instance, _ending: None)
        self.managed = ManagedInstance(Instance("i", "q", 0.0))
        self.booter = Booter(engine, ports)

    def step(self, name, answer=None):
        async def take(*_arguments, **_named):
            if name in self.failures:
                raise self.failures[name]
            return answer

        return take

    async def read(self, _statement, _queue):
        return self.row

    async def acquire(self, queue, _files):
        self.held.append(queue)
        return Path("/versions/version")

    async def fork(self, _spec, _boot, connection):
        if self.printed:
            connection.on_text(None, self.printed)
        if self.said:
            asyncio.get_running_loop().call_soon(connection.on_frames, list(self.said), deque())
        return self.child


async def test_the_model_is_ready_and_its_files_are_held_until_its_process_has_ended(tmp_path):
    parts = Parts(tmp_path)
    connection = await parts.booter.boot(parts.managed)
    instance = parts.managed.instance
    assert (instance.concurrency, instance.child, instance.about) == (3, parts.child, "about")
    assert (parts.learned, parts.noted_accounts) == (["q"], [("q", ["account"])])
    assert parts.managed.environment == "digest"
    assert parts.watched[0].folder == tmp_path / "i"
    assert instance.data_limit_bytes == parts.watched[0].memory_limit_bytes
    assert parts.held == ["version"]
    connection.on_exit(ChildExit(0, None))
    await asyncio.sleep(0)
    assert parts.held == []


async def test_one_with_a_gpu_may_reserve_what_it_never_touches(tmp_path):
    parts = Parts(tmp_path, grant=GpuGrant((GPU,), (GIB,)))
    await parts.booter.boot(parts.managed)
    assert parts.managed.instance.gpus == ("GPU-a",)
    assert parts.managed.instance.data_limit_bytes is None


@pytest.mark.parametrize("step", ["environment", "price", "gpus", "privileges", "forks"])
async def test_a_step_that_fails_gives_the_files_back(tmp_path, step):
    parts = Parts(tmp_path)
    parts.failures[step] = EnvironmentFailed("no such package")
    with pytest.raises(EnvironmentFailed):
        await parts.booter.boot(parts.managed)
    assert parts.held == []
    assert parts.managed.connection is None


async def test_a_model_that_fails_is_killed_and_its_error_ends_with_what_it_printed(tmp_path):
    parts = Parts(tmp_path, [b'{"t":"failed","kind":"setup","error":"no weights"}'], printed="loading")
    with pytest.raises(BootFailed) as failed:
        await parts.booter.boot(parts.managed)
    assert str(failed.value) == "no weights\ndenied\nloading"
    assert parts.child.killed
    assert parts.held == []


async def test_a_boot_that_is_canceled_gives_the_files_back_and_kills(tmp_path):
    parts = Parts(tmp_path, said=())
    booting = asyncio.create_task(parts.booter.boot(parts.managed))
    await shortly(lambda: parts.watched)
    booting.cancel()
    await asyncio.gather(booting, return_exceptions=True)
    assert parts.child.killed
    assert parts.held == []


async def test_a_version_that_was_deleted_is_not_booted(tmp_path):
    parts = Parts(tmp_path)
    parts.row = None
    with pytest.raises(BootFailed, match="does not exist"):
        await parts.booter.boot(parts.managed)
    assert parts.held == []


async def test_an_environment_is_in_use_while_the_instance_waits_for_a_gpu(tmp_path):
    parts = Parts(tmp_path)
    parts.failures["gpus"] = TimeoutError()
    with pytest.raises(TimeoutError):
        await parts.booter.boot(parts.managed)
    assert parts.managed.environment == "digest"
