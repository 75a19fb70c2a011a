"""Which GPUs an instance gets: a pure decision over what the machine has, what is reserved and what was observed.

Nothing here asks a device or stops an instance. Sizes are bytes; devices are named by their UUID throughout, since
their numbers differ between NVML and CUDA and change with CUDA_VISIBLE_DEVICES.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.hardware import HARDWARE
from tidemill.contracts.limits import GIB

# What a driver keeps of a device, and a bare context takes: "an 80 GB GPU" still is one when nobody else is on it.
SLACK_BYTES: Final = GIB
# Shared by all devices, and needed for any.
_COMMON_FILES: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


class Device(msgspec.Struct, frozen=True):
    """One GPU; `minor` is the number in its /dev/nvidia<minor>."""

    uuid: str
    name: str
    minor: int
    memory_bytes: int


class GpuRequest(NamedTuple):
    """`bytes_each` None is all that a device has. `devices` 0 is a model that gets none, and sees none."""

    devices: int = 0
    bytes_each: int | None = None


class GpuGrant(msgspec.Struct, frozen=True):
    """Devices for one instance, and what is reserved for it on each."""

    devices: tuple[Device, ...] = ()
    bytes_each: tuple[int, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """For the child. Set also when it is to see no device."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(device.uuid for device in self.devices)}

    @property
    def files(self) -> tuple[str, ...]:
        """What the child's sandbox must open for it: of the other devices nothing is to be had."""
        own = tuple(f"/dev/nvidia{device.minor}" for device in self.devices)
        return (*_COMMON_FILES, *own) if own else ()

    def on(self, device: Device) -> int:
        return sum(size for each, size in zip(self.devices, self.bytes_each, strict=True) if each.uuid == device.uuid)


class GrantHolder(NamedTuple):
    """An instance with a grant; `idle_s` is None while it may not be stopped: it runs something, boots, or is `ending`
    already.
    """

    instance: str
    grant: GpuGrant
    idle_s: float | None
    ending: bool = False


class Evict(NamedTuple):
    """Idle instances that must stop before the wish fits."""

    instances: tuple[str, ...]


class Wait(NamedTuple):
    """It fits once others have ended."""


class Never(NamedTuple):
    reason: str


Decision = GpuGrant | Evict | Wait | Never


def wish(sku: str, *, asks: bool) -> GpuRequest:
    """What a model is to get: as its queue's hardware has it. One that only says `gpu: true` gets a whole device."""
    hardware = HARDWARE.get(sku)
    if hardware is not None and hardware.gpus:
        return GpuRequest(hardware.gpus, hardware.gpu_memory_bytes // hardware.gpus)
    return GpuRequest(1, None) if asks else GpuRequest()


def decide(
    wanted: GpuRequest, devices: Sequence[Device], holders: Sequence[GrantHolder], used: Mapping[str, int]
) -> Decision:
    """`used` is what was observed in use on each device, by anybody.

    A machine without GPUs grants none: most models run on its CPU, and those that cannot say so in their set-up.
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
    """The fullest devices that still have room: whole ones stay free for whoever needs a whole one."""
    free = {device.uuid: free_bytes(device, holders, used) for device in devices}
    fitting = [device for device in devices if _needed(wanted, device) <= free[device.uuid]]
    if len(fitting) < wanted.devices:
        return None
    chosen = sorted(fitting, key=lambda device: (free[device.uuid], device.minor))[: wanted.devices]
    return GpuGrant(tuple(chosen), tuple(_needed(wanted, device) for device in chosen))


def free_bytes(device: Device, holders: Sequence[GrantHolder], used: Mapping[str, int]) -> int:
    """What can still be promised: neither reserved, nor in use by one that took more or by a stranger's process."""
    reserved = sum(holder.grant.on(device) for holder in holders)
    return device.memory_bytes - max(reserved, used.get(device.uuid, 0))


def _needed(wanted: GpuRequest, device: Device) -> int:
    """No more than a whole device: a model may be tried on a smaller one than its hardware names, alone."""
    whole = max(device.memory_bytes - SLACK_BYTES, 0)
    return whole if wanted.bytes_each is None else min(wanted.bytes_each, whole)


def _evict(
    wanted: GpuRequest, devices: Sequence[Device], holders: Sequence[GrantHolder], used: Mapping[str, int]
) -> Evict | None:
    """The longest idle first, and none whose end would not help; none at all where those that are ending suffice."""
    gone = [holder for holder in holders if holder.ending]
    idle = [holder for holder in holders if holder.idle_s is not None and not holder.ending]
    waiting = iter(sorted(idle, key=lambda holder: -(holder.idle_s or 0.0)))
    doomed: list[GrantHolder] = []
    while not _fits_without([*gone, *doomed], wanted, devices, holders, used):
        following = next(waiting, None)
        if following is None:
            return None
        doomed.append(following)
    for spared in list(doomed):
        fewer = [holder for holder in doomed if holder is not spared]
        if _fits_without([*gone, *fewer], wanted, devices, holders, used):
            doomed = fewer
    return Evict(tuple(holder.instance for holder in doomed)) if doomed else None


def _fits_without(
    gone: Sequence[GrantHolder],
    wanted: GpuRequest,
    devices: Sequence[Device],
    holders: Sequence[GrantHolder],
    used: Mapping[str, int],
) -> bool:
    """As things are expected to be when these have ended and given back what was reserved for them."""
    left = [holder for holder in holders if holder not in gone]
    then = {
        device.uuid: max(used.get(device.uuid, 0) - sum(holder.grant.on(device) for holder in gone), 0)
        for device in devices
    }
    return _fit(wanted, devices, left, then) is not None
