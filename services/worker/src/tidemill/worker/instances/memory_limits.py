"""How much memory an instance may have, by the hardware that its queue is sold as. Pure."""

from collections.abc import Sequence

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.hardware import HARDWARE


def memory_limit(sku: str) -> int | None:
    """In bytes; None for hardware that nobody knows."""
    hardware = HARDWARE.get(sku)
    return None if hardware is None else hardware.memory_bytes


def data_limit(sku: str, files: Sequence[BundleFile]) -> int | None:
    """What the kernel lets the process have, so that its allocations fail before it is ended for what it uses.

    Weights that are mapped to be changed privately count, and use memory only where they are changed.
    """
    limit = memory_limit(sku)
    return None if limit is None else limit + sum(file.size for file in files)
