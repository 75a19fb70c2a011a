"""What a boot makes of a grant, and who may be asked to stop for another."""

import os
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemill.contracts.limits import GIB
from tidemill.hosting.cogyaml import ModelConfig
from tidemill.hosting.environments import Environment
from tidemill.worker.gpus.choice import Device, Grant
from tidemill.worker.gpus.devices import NoGpus
from tidemill.worker.instances.boots import Boots
from tidemill.worker.instances.confinement import Confined
from tidemill.worker.runs.instance import Instance

B = Device("GPU-b", "Made-up GPU", 1, 80 * GIB)


class Parts:
    """A fork that is only noted."""

    def __init__(self, home):
        self.specs, self.lanes = [], {"q": SimpleNamespace(instances={})}
        given = SimpleNamespace(confined=Confined(required=()), about=None, secrets={})
        self.boots = Boots(
            SimpleNamespace(lanes=self.lanes),
            None,
            None,
            None,
            SimpleNamespace(get=self.zygote, runtime_paths=lambda: ()),
            SimpleNamespace(trains=lambda _queue: False),
            home=home,
            capacity=4,
            timeout_s=1,
            privileges=SimpleNamespace(given=lambda *_: answer(given)),
            ways_out=None,
            watcher=SimpleNamespace(fresh_kernel_kills=None),
            machine=NoGpus(),
        )

    async def zygote(self, _environment):
        return SimpleNamespace(fork=self.fork)

    async def fork(self, spec, _boot, _link):
        self.specs.append(spec)

    def instance(self, name, state="ready", idle_since=0.0, runs=()):
        instance = Instance(name, "q", 0.0)
        instance.state, instance.idle_since = state, idle_since
        instance.runs = OrderedDict.fromkeys(runs)
        self.lanes["q"].instances[name] = instance
        return instance


async def answer(value):
    return value


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "version").mkdir()
    return Parts(tmp_path)


@pytest.fixture
async def spec_for(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    config = ModelConfig(entry="predict.py:P", environment=(("CUDA_VISIBLE_DEVICES", "0,1"), ("A", "b")))
    environment = Environment("d", "z", Path("/usr/bin/python3"), (), None, ())

    async def fork(grant):
        await parts.boots._fork(parts.instance("i"), config, tmp_path / "version", environment, grant)
        return parts.specs[-1]

    return fork


async def test_a_child_is_given_its_devices_whatever_its_author_wrote(spec_for):
    spec = await spec_for(Grant((B,), (GIB,)))
    assert spec.env == {"CUDA_VISIBLE_DEVICES": "GPU-b", "A": "b"}
    assert "/dev/nvidia1" in spec.sandbox.devices
    assert "/dev/nvidia0" not in spec.sandbox.devices


async def test_a_child_without_a_grant_is_given_none(spec_for):
    spec = await spec_for(Grant())
    assert spec.env["CUDA_VISIBLE_DEVICES"] == ""
    assert spec.sandbox.devices == ()


def test_only_idle_instances_may_have_to_stop(parts):
    parts.instance("idle")
    parts.instance("busy", runs=["p"])
    parts.instance("booting", "booting")
    parts.instance("draining", "draining")
    idle = {name: parts.boots._idle_s(name) for name in ("idle", "busy", "booting", "draining", "unknown")}
    assert idle.pop("idle") > 0
    assert set(idle.values()) == {None}


def test_room_is_made_by_draining(parts):
    instance = parts.instance("idle")
    parts.boots._make_room("idle")
    parts.boots._make_room("unknown")
    assert instance.state == "draining"
