"""How much memory an instance may have, by the hardware of its queue. Pure."""

from collections.abc import Sequence

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.hardware import HARDWARE


def memory_limit(sku: str) -> int | None:
    """Return the limit in bytes, or None for unknown hardware."""
    hardware = HARDWARE.get(sku)
    return None if hardware is None else hardware.memory_bytes


def data_limit(sku: str, files: Sequence[BundleFile]) -> int | None:
    """Return the kernel's limit in bytes for the process's private memory: allocations fail before a kill is due.

    It includes the files' size: privately mapped weights count in full, and use memory only where they are changed.
    """
    limit = memory_limit(sku)
    return None if limit is None else limit + sum(file.size for file in files)
