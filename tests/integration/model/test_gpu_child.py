"""Children on real GPUs: they see what they were given and nothing else, and running out of its memory costs one
prediction. Where there is no GPU, or torch was built without CUDA, there is nothing to see.
"""

import asyncio
import os
import sys

import pytest

from tidemill.contracts.limits import GIB
from tidemill.hosting.child.zygotes import NO_GPU, holds_gpu
from tidemill.model.host.zygote_process import ZygoteProcess
from tidemill.worker.gpus import choice
from tidemill.worker.gpus.choice import GpuGrant, GpuRequest
from tidemill.worker.gpus.devices import discover

pytestmark = pytest.mark.gpu
FREED_WITHIN_S = 10.0  # the driver takes a context apart after its process has gone


@pytest.fixture(scope="module")
def machine():
    machine = discover()
    if not machine.devices:
        pytest.skip("no GPU")
    if pytest.importorskip("torch").version.cuda is None:
        pytest.skip("torch without CUDA")
    return machine


@pytest.fixture
async def cuda(machine, zygote_env, make_launcher):
    zygote = await ZygoteProcess.start(sys.executable, preload=["torch"], env={**zygote_env, **NO_GPU})
    launcher = make_launcher(zygote)
    yield launcher
    await launcher.end_all()
    await zygote.close()


async def child_with(launcher, grant):
    return await launcher("proc_gpu", sandbox={"devices": grant.files}, env=grant.environment)


async def output(child, what):
    done = await child.predict(what, what=what)
    assert done["status"] == "succeeded", done
    return done["output"]


async def test_a_child_computes_on_its_device_and_sees_no_other(machine, cuda):
    grant = choice.decide(GpuRequest(1, GIB), machine.devices, [], machine.used())
    assert isinstance(grant, GpuGrant)
    child = await child_with(cuda, grant)
    seen = await output(child, "devices")
    assert [f"GPU-{uuid}" for uuid in seen["uuids"]] == [device.uuid for device in grant.devices]
    assert seen["opened"] == [device.minor for device in grant.devices]
    assert (await output(child, "compute"))["sum"] == 1024.0**3
    assert not holds_gpu(cuda.zygote.process.pid)
    assert holds_gpu(child.process.pid) or os.geteuid() != 0  # another uid's descriptors are root's to see


async def test_a_child_without_a_grant_has_no_gpu(cuda):
    child = await child_with(cuda, GpuGrant())
    assert await output(child, "devices") == {"uuids": [], "opened": []}


async def test_running_out_of_gpu_memory_fails_the_prediction_and_not_the_child(machine, cuda):
    child = await child_with(cuda, choice.decide(GpuRequest(1), machine.devices, [], {}))
    done = await child.predict("1", what="too_much")
    assert (done["status"], done["error"].partition(":")[0]) == ("out_of_memory", "the GPU ran out of memory")
    assert (await output(child, "compute"))["sum"] == 1024.0**3


async def test_what_a_killed_child_held_is_given_back(machine, cuda):
    before = machine.used()
    grant = choice.decide(GpuRequest(1, 4 * GIB), machine.devices, [], before)
    (device,) = grant.devices
    child = await child_with(cuda, grant)
    assert (await output(child, "hold"))["bytes"] >= 2 * GIB
    assert machine.used()[device.uuid] >= before[device.uuid] + 2 * GIB
    child.process.kill()
    await child.exit()
    async with asyncio.timeout(FREED_WITHIN_S):
        while machine.used()[device.uuid] > before[device.uuid] + GIB // 4:
            await asyncio.sleep(0.1)
