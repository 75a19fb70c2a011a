"""Time as the services write it: unix seconds inside, RFC 3339 on the wire."""

import time
from datetime import UTC, datetime

now = time.time
monotonic = time.monotonic


def rfc3339(unix_s: float) -> str:
    """UTC with milliseconds and a Z, as Replicate writes created_at."""
    ms = round(unix_s * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d}Z"


def at(unix_s: float) -> datetime:
    """For timestamptz parameters."""
    return datetime.fromtimestamp(unix_s, UTC)


def unix(moment: datetime) -> float:
    return moment.timestamp()
