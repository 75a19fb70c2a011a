"""The kinds of hardware that models and deployments may request, and the default price per second.

Every sku is checked against this list. It does not say which workers exist.
"""

from typing import Final

import msgspec

from tidemill.contracts.errors import Problem, invalid_member
from tidemill.contracts.limits import GIB


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """`price_usd_per_s` of the whole machine; `gpu_memory_bytes` of all its GPUs together. `memory_bytes` is what one
    instance may use of the main memory, whatever the worker's machine has.
    """

    sku: str
    name: str
    price_usd_per_s: float
    memory_bytes: int
    gpus: int = 0
    gpu_memory_bytes: int = 0


# The prices are usual rental prices per second; an operator can replace them.
_CPUS: Final = (
    Hardware(sku="cpu-small", name="CPU (Small)", price_usd_per_s=0.000025, memory_bytes=2 * GIB),
    Hardware(sku="cpu", name="CPU", price_usd_per_s=0.0001, memory_bytes=8 * GIB),
)
# sku, name, price per GPU, GPU memory in GiB, main memory per GPU in GiB, numbers of GPUs per machine
_GPUS: Final = (
    ("gpu-t4", "Nvidia T4 GPU", 0.000225, 16, 16, (1,)),
    ("gpu-l4", "Nvidia L4 GPU", 0.0003, 24, 32, (1,)),
    ("gpu-l40s", "Nvidia L40S GPU", 0.000975, 48, 64, (1, 2, 4, 8)),
    ("gpu-a100-large", "Nvidia A100 (80GB) GPU", 0.0014, 80, 144, (1, 2, 4, 8)),
    ("gpu-h100", "Nvidia H100 GPU", 0.001525, 80, 144, (1, 2, 4, 8)),
    ("gpu-h200", "Nvidia H200 GPU", 0.0019, 141, 192, (1, 2, 4, 8)),
)


def _gpus() -> tuple[Hardware, ...]:
    return tuple(
        Hardware(
            sku=sku if number == 1 else f"{sku}-{number}x",
            name=name if number == 1 else f"{number}x {name}",
            price_usd_per_s=round(price * number, 6),
            memory_bytes=main_gib * number * GIB,
            gpus=number,
            gpu_memory_bytes=memory_gib * number * GIB,
        )
        for sku, name, price, memory_gib, main_gib, numbers in _GPUS
        for number in numbers
    )


HARDWARE: Final = {kind.sku: kind for kind in (*_CPUS, *_gpus())}


def unknown_hardware() -> Problem:
    """Return the problem for a sku that is not in HARDWARE."""
    skus = ", ".join(f'"{sku}"' for sku in HARDWARE)
    return invalid_member("hardware", f"hardware must be one of the following: {skus}", "enum")
