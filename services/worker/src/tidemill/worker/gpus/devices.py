"""Finds the machine's NVIDIA GPUs through NVML. It never uses CUDA: a context would cost memory on each device.

A machine without a driver has no devices; that is no error.
"""

import os
from collections.abc import Sequence
from typing import Any, Final, Protocol

import pynvml

from tidemill.runtime.telemetry import log
from tidemill.worker.gpus.choice import Device

VISIBLE: Final = (
    "CUDA_VISIBLE_DEVICES"  # the devices that the operator gives the worker: numbers or UUIDs; empty is none
)


class Gpus(Protocol):
    """`used` returns the bytes in use by UUID. It may block for milliseconds: call it in a thread."""

    devices: tuple[Device, ...]

    def used(self) -> dict[str, int]: ...


class NoGpus:
    devices: tuple[Device, ...] = ()

    def used(self) -> dict[str, int]:
        return {}


class NvmlGpus:
    """NVML stays initialised as long as the process runs."""

    def __init__(self, handles: dict[Device, Any]) -> None:
        self._handles = handles
        self.devices = tuple(handles)

    def used(self) -> dict[str, int]:
        """A device that gives no answer (it fell off the bus) counts as full, so that nothing new is put there."""
        return {device.uuid: _used(device, handle) for device, handle in self._handles.items()}


def _used(device: Device, handle: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    except pynvml.NVMLError as error:
        log().warning("GPU gives no answer", action="gpu", device=device.uuid, error=str(error))
        return device.memory_bytes


def discover(visible: str | None = os.environ.get(VISIBLE)) -> Gpus:
    """Return the devices that the operator gives this worker."""
    try:
        pynvml.nvmlInit()
        handles = dict(_describe(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        log().info("no GPUs", action="gpu", reason=str(error))
        return NoGpus()
    kept = chosen(tuple(handles), visible)
    for device in kept:
        log().info("GPU", action="gpu", device=device.uuid, name=device.name, memory_bytes=device.memory_bytes)
    return NvmlGpus({device: handles[device] for device in kept}) if kept else NoGpus()


def _describe(index: int) -> tuple[Device, Any]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    device = Device(
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        minor=int(pynvml.nvmlDeviceGetMinorNumber(handle)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
    )
    return device, handle


def chosen(devices: Sequence[Device], visible: str | None) -> tuple[Device, ...]:
    """Read the variable as CUDA does: numbers or beginnings of UUIDs, up to the first that names no device.

    Numbers follow NVML's order, which is CUDA's with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    if visible is None:
        return tuple(devices)
    found: list[Device] = []
    for word in (part.strip() for part in visible.split(",")):
        named = [device for number, device in enumerate(devices) if _names(word, number, device)]
        if len(named) != 1 or named[0] in found:
            break
        found += named
    return tuple(found)


def _names(word: str, number: int, device: Device) -> bool:
    return word == str(number) or (word.startswith("GPU-") and device.uuid.startswith(word))
