"""Decides which GPUs an instance gets, from the machine's devices, the reservations and the observed use. Pure.

Sizes are bytes. Devices are named by UUID: their numbers differ between NVML and CUDA and change with
CUDA_VISIBLE_DEVICES.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.hardware import HARDWARE
from tidemill.contracts.limits import GIB

# What the driver keeps and a bare context takes: without this slack, nothing would fit "an 80 GB GPU".
SLACK_BYTES: Final = GIB
# Needed for every device.
_COMMON_FILES: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


class Device(msgspec.Struct, frozen=True):
    """One GPU; `minor` is the number in its /dev/nvidia<minor>."""

    uuid: str
    name: str
    minor: int
    memory_bytes: int


class GpuRequest(NamedTuple):
    """`bytes_each` None: all memory of a device. `devices` 0: the model gets and sees none."""

    devices: int = 0
    bytes_each: int | None = None


class GpuGrant(msgspec.Struct, frozen=True):
    """Devices for one instance, and the memory reserved for it on each."""

    devices: tuple[Device, ...] = ()
    bytes_each: tuple[int, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the child; set also if it must see no device."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(device.uuid for device in self.devices)}

    @property
    def files(self) -> tuple[str, ...]:
        """Device files that the child's sandbox opens; those of other devices stay closed."""
        own = tuple(f"/dev/nvidia{device.minor}" for device in self.devices)
        return (*_COMMON_FILES, *own) if own else ()

    def on(self, device: Device) -> int:
        return sum(size for each, size in zip(self.devices, self.bytes_each, strict=True) if each.uuid == device.uuid)


class GrantHolder(NamedTuple):
    """An instance with a grant. `idle_s` is None while it must not be stopped: it runs, boots, or is `ending`."""

    instance: str
    grant: GpuGrant
    idle_s: float | None
    ending: bool = False


class Evict(NamedTuple):
    """Idle instances to stop, so that the request fits."""

    instances: tuple[str, ...]


class Wait(NamedTuple):
    """The request fits once other instances have ended."""


class Never(NamedTuple):
    """The machine cannot meet the request."""

    """The machine cannot meet the request."""

    reason: str


Decision = GpuGrant | Evict | Wait | Never


def gpu_request(sku: str, *, asks: bool) -> GpuRequest:
    """Return what the queue's hardware has. A model that only says `gpu: true` (`asks`) gets a whole device."""
    hardware = HARDWARE.get(sku)
    if hardware is not None and hardware.gpus:
        return GpuRequest(hardware.gpus, hardware.gpu_memory_bytes // hardware.gpus)
    return GpuRequest(1, None) if asks else GpuRequest()


def decide(
    wanted: GpuRequest, devices: Sequence[Device], holders: Sequence[GrantHolder], used: Mapping[str, int]
) -> Decision:
    """`used` is the memory in use on each device, by any process.

    A machine without GPUs grants none: most models also run on a CPU, and the others fail in their set-up.
    """
    if not wanted.devices or not devices:
        return GpuGrant()
    if wanted.devices > len(devices):
        return Never(f"it asks for {wanted.devices} GPUs and this worker has {len(devices)}")
    granted = _fit(wanted, devices, holders, used)
    return granted or _evict(wanted, devices, holders, used) or Wait()


def _fit(
    wanted: GpuRequest, devices: Sequence[Device], holders: Sequence[GrantHolder], used: Mapping[str, int]
) -> GpuGrant | None:
    """Choose the fullest devices with room, so that empty ones stay free for requests of a whole device."""
    free = {device.uuid: free_bytes(device, holders, used) for device in devices}
    fitting = [device for device in devices if _needed(wanted, device) <= free[device.uuid]]
    if len(fitting) < wanted.devices:
        return None
    chosen = sorted(fitting, key=lambda device: (free[device.uuid], device.minor))[: wanted.devices]
    return GpuGrant(tuple(chosen), tuple(_needed(wanted, device) for device in chosen))


def free_bytes(device: Device, holders: Sequence[GrantHolder], used: Mapping[str, int]) -> int:
    """Return the memory that is neither reserved nor in use, be it beyond a reservation or by another program."""
    reserved = sum(holder.grant.on(device) for holder in holders)
    return device.memory_bytes - max(reserved, used.get(device.uuid, 0))


def _needed(wanted: GpuRequest, device: Device) -> int:
    """Return at most a whole device: a model may run on a smaller one than its hardware names, alone."""
    whole = max(device.memory_bytes - SLACK_BYTES, 0)
    return whole if wanted.bytes_each is None else min(wanted.bytes_each, whole)


def _evict(
    wanted: GpuRequest, devices: Sequence[Device], holders: Sequence[GrantHolder], used: Mapping[str, int]
) -> Evict | None:
    """Choose the longest idle instances, and only those that help. None if none do, or those ending suffice."""
    gone = [holder for holder in holders if holder.ending]
    idle = [holder for holder in holders if holder.idle_s is not None and not holder.ending]
    waiting = iter(sorted(idle, key=lambda holder: -(holder.idle_s or 0.0)))
    chosen: list[GrantHolder] = []
    while not _fits_without([*gone, *chosen], wanted, devices, holders, used):
        following = next(waiting, None)
        if following is None:
            return None
        chosen.append(following)
    for spared in list(chosen):
        fewer = [holder for holder in chosen if holder is not spared]
        if _fits_without([*gone, *fewer], wanted, devices, holders, used):
            chosen = fewer
    return Evict(tuple(holder.instance for holder in chosen)) if chosen else None


def _fits_without(
    gone: Sequence[GrantHolder],
    wanted: GpuRequest,
    devices: Sequence[Device],
    holders: Sequence[GrantHolder],
    used: Mapping[str, int],
) -> bool:
    """Whether the request fits when these instances have ended and released their memory."""
    left = [holder for holder in holders if holder not in gone]
    then = {
        device.uuid: max(used.get(device.uuid, 0) - sum(holder.grant.on(device) for holder in gone), 0)
        for device in devices
    }
    return _fit(wanted, devices, left, then) is not None
