"""What a fork makes of a grant, and who may be asked to stop for another."""

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemill.contracts.limits import GIB
from tidemill.hosting.environments.store import Environment
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.worker.gpus.choice import Device, GpuGrant
from tidemill.worker.instances.confinement import Confinement
from tidemill.worker.instances.folders import InstanceFolders
from tidemill.worker.instances.forks import ForkBuilder, ForkMaterials
from tidemill.worker.instances.idle_instances import IdleInstances
from tidemill.worker.runs.instance import Instance

B = Device("GPU-b", "Made-up GPU", 1, 80 * GIB)


class Zygotes:
    async def get(self, _environment):
        return None

    def runtime_paths(self):
        return ()


@pytest.fixture
async def spec_for(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (tmp_path / "version").mkdir()
    config = ModelConfig(entry="predict.py:P", environment=(("CUDA_VISIBLE_DEVICES", "0,1"), ("A", "b")))
    environment = Environment("d", "z", Path("/usr/bin/python3"), (), None, ())
    given = SimpleNamespace(confined=Confinement(required=()), secrets={})
    forks = ForkBuilder(Zygotes(), InstanceFolders(tmp_path / "instances"))

    async def prepare(grant):
        materials = ForkMaterials(config, tmp_path / "version", environment, grant, given, trains=False)
        return (await forks.prepare(Instance("i", "q", 0.0), materials)).spec

    return prepare


async def test_a_child_is_given_its_devices_whatever_its_author_wrote(spec_for):
    spec = await spec_for(GpuGrant((B,), (GIB,)))
    assert spec.env == {"CUDA_VISIBLE_DEVICES": "GPU-b", "A": "b"}
    assert "/dev/nvidia1" in spec.sandbox.devices
    assert "/dev/nvidia0" not in spec.sandbox.devices


async def test_a_child_without_a_grant_is_given_none(spec_for):
    spec = await spec_for(GpuGrant())
    assert spec.env["CUDA_VISIBLE_DEVICES"] == ""
    assert spec.sandbox.devices == ()


class Instances(dict):
    def add(self, name, state="ready", runs=()):
        instance = self[name] = Instance(name, "q", 0.0)
        instance.state, instance.runs = state, OrderedDict.fromkeys(runs)
        return instance


@pytest.fixture
def instances():
    return Instances()


@pytest.fixture
def idleness(instances):
    return IdleInstances(SimpleNamespace(instances=lambda: instances))


def test_only_idle_instances_may_have_to_stop(instances, idleness):
    instances.add("idle")
    instances.add("busy", runs=["p"])
    instances.add("booting", "booting")
    instances.add("draining", "draining")
    idle = {name: idleness.idle_s(name) for name in (*instances, "unknown")}
    assert idle.pop("idle") > 0
    assert set(idle.values()) == {None}


def test_room_is_made_by_draining(instances, idleness):
    idle, failed = instances.add("idle"), instances.add("failed", "failed")
    for name in ("idle", "failed", "unknown"):
        idleness.stop(name)
    assert (idle.state, failed.state) == ("draining", "failed")
