import asyncio

import pynvml
import pytest

from tidemill.contracts.limits import GIB
from tidemill.testing.tasks import shortly
from tidemill.worker.gpus import assignments, devices
from tidemill.worker.gpus.assignments import GpuAssignments, NoSuchGpu
from tidemill.worker.gpus.choice import Device, GpuGrant, GpuRequest
from tidemill.worker.gpus.devices import NoGpus, NvmlGpus, discover

A = Device("GPU-a", "Made-up GPU", 0, 80 * GIB)
HALF, WHOLE = GpuRequest(1, 40 * GIB), GpuRequest(1, None)


class FakeGpus:
    def __init__(self, *devices):
        self.devices = devices
        self.strangers, self.looks = {}, 0

    def used(self):
        self.looks += 1
        return {device.uuid: self.strangers.get(device.uuid, 0) for device in self.devices}


class World:
    def __init__(self, *devices):
        self.machine, self.idle, self.stopped = FakeGpus(*devices), {}, []
        self.assignments = GpuAssignments(self.machine, idle_s=self.idle.get, stop=self.stopped.append)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(assignments, "CHECK_EVERY_S", 0.001)


async def test_two_share_a_device_and_a_third_waits_for_its_turn():
    world = World(A)
    assert (await world.assignments.assign("1", HALF)).devices == (A,)
    assert (await world.assignments.assign("2", GpuRequest(1, 39 * GIB))).devices == (A,)
    third = asyncio.create_task(world.assignments.assign("3", HALF))
    world.assignments.release("2")
    assert (await third).devices == (A,)
    assert world.stopped == []


async def test_an_idle_instance_is_asked_once_to_make_room():
    world = World(A)
    await world.assignments.assign("old", WHOLE)
    world.idle["old"] = 7.0
    waiting = asyncio.create_task(world.assignments.assign("new", WHOLE))
    await shortly(lambda: world.stopped)
    looks = world.machine.looks
    await shortly(lambda: world.machine.looks > looks + 3)
    assert world.stopped == ["old"]
    world.assignments.release("old")
    assert (await waiting).devices == (A,)


async def test_a_stranger_on_the_device_is_waited_for():
    world = World(A)
    world.machine.strangers["GPU-a"] = 70 * GIB
    waiting = asyncio.create_task(world.assignments.assign("1", HALF))
    await shortly(lambda: world.machine.looks > 3)
    assert not waiting.done()
    world.machine.strangers.clear()
    assert (await waiting).devices == (A,)


async def test_who_gives_up_waiting_holds_nothing():
    world = World(A)
    await world.assignments.assign("1", WHOLE)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await world.assignments.assign("2", WHOLE)
    world.assignments.release("2")
    world.assignments.release("1")
    assert (await world.assignments.assign("3", WHOLE)).devices == (A,)


async def test_what_there_will_never_be_is_refused():
    with pytest.raises(NoSuchGpu, match="asks for 2 GPUs and this worker has 1"):
        await World(A).assignments.assign("1", GpuRequest(2, GIB))


async def test_a_machine_without_gpus_grants_none():
    assignments = GpuAssignments(NoGpus(), idle_s=lambda _: None, stop=lambda _: None)
    assert await assignments.assign("1", WHOLE) == GpuGrant()
    assert (assignments.count, assignments.memory_bytes) == (0, 0)


class FakeMemory:
    def __init__(self, total, used):
        self.total, self.used = total, used


@pytest.fixture
def nvml(monkeypatch):
    """A driver with two devices; the second gives no answer when `lost`."""

    class Driver:
        lost = False

        def memory(self, handle):
            if handle == 1 and self.lost:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
            return FakeMemory(80 * GIB, (handle + 1) * GIB)

    driver = Driver()
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: "Made-up GPU")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMinorNumber", lambda handle: handle)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", driver.memory)
    return driver


def test_devices_are_found_and_their_memory_is_observed(nvml):
    found = discover(None)
    assert isinstance(found, NvmlGpus)
    assert [(each.uuid, each.minor, each.memory_bytes) for each in found.devices] == [
        ("GPU-0", 0, 80 * GIB),
        ("GPU-1", 1, 80 * GIB),
    ]
    assert found.used() == {"GPU-0": GIB, "GPU-1": 2 * GIB}
    assert [each.uuid for each in discover("1").devices] == ["GPU-1"]
    assert isinstance(discover(""), NoGpus)


def test_a_device_that_is_lost_counts_as_full(nvml):
    found = discover(None)
    nvml.lost = True
    assert found.used() == {"GPU-0": GIB, "GPU-1": 80 * GIB}


def test_a_machine_without_a_driver_has_no_gpus(monkeypatch):
    def absent():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(devices.pynvml, "nvmlInit", absent)
    assert isinstance(discover(None), NoGpus)
