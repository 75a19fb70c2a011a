"""How long each phase of a boot took, for the metrics and for predictions that waited. Pure but for the counters."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from prometheus_client import Counter, Histogram

# From a single fork to an environment with torch that must be downloaded first.
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
BOOT_SECONDS: Final = Histogram(
    "tidemill_worker_boot_seconds", "From the command to a ready instance", buckets=BUCKETS_S
)
PHASE_SECONDS: Final = Histogram(
    "tidemill_worker_boot_phase_seconds", "Phases of boots that succeeded", ["phase"], buckets=BUCKETS_S
)
FAILURES: Final = Counter("tidemill_worker_boot_failures_total", "Boots that failed")


class BootTimes(NamedTuple):
    """Seconds of one monotonic clock."""

    began: float
    fetched: float
    built: float
    ready: float


def phases(at: BootTimes, child_ms: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of fetch, environment, fork, import and setup, and the total.

    `child_ms` is what the child measured; it counts up to the time that has passed. The rest of that time is the phase
    "fork": the start of a zygote if there was none, the fork, and the sandbox.
    """
    process = at.ready - at.built
    imported, set_up = (min(max(0.0, child_ms.get(name, 0.0) / 1000), process) for name in ("import", "setup"))
    measured = {
        "fetch": at.fetched - at.began,
        "environment": at.built - at.fetched,
        "fork": max(0.0, process - imported - set_up),
        "import": imported,
        "setup": set_up,
        "total": at.ready - at.began,
    }
    return {name: round(seconds, 4) for name, seconds in measured.items()}


def repeated_s(seconds: Mapping[str, float]) -> float:
    """Return the duration of a next boot, which finds files and environment on the disk."""
    return sum(seconds[name] for name in ("fork", "import", "setup"))


def record(seconds: Mapping[str, float]) -> str:
    """Count the phases in the metrics. Return them as JSON."""
    for name, took in seconds.items():
        if name == "total":
            BOOT_SECONDS.observe(took)
        else:
            PHASE_SECONDS.labels(name).observe(took)
    return msgspec.json.encode(seconds).decode()
