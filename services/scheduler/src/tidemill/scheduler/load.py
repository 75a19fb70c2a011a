"""What gateways are told of the open predictions: how many wait in each queue and since when, and whose they are.

Pure. A hint like all that concerns the fleet: gateways refuse by it, and accept when they have not heard it.
"""

from collections import Counter
from collections.abc import Iterable
from heapq import nlargest
from typing import Final

from tidemill.contracts.events import LoadReport, QueueLoad
from tidemill.scheduler.sweep import Row

# Together well below the megabyte that NATS takes. Limits are about those who have the most, so those stay in.
QUEUES_LIMIT: Final = 3_000
ACCOUNTS_LIMIT: Final = 10_000


def load_of(rows: Iterable[Row], now: float, behind_s: float) -> LoadReport:
    """`rows`: all that are known to be open; times are unix seconds of the database's clock."""
    open_: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    oldest: dict[str, float] = {}
    for row in rows:
        open_[row.account] += 1
        if row.waits:
            waiting[row.queue] += 1
            oldest[row.queue] = min(row.accepted_at, oldest.get(row.queue, now))
    longest = nlargest(QUEUES_LIMIT, waiting.items(), key=lambda each: each[1])
    return LoadReport(
        at=now,
        behind_s=round(behind_s, 3),
        queues=[QueueLoad(queue=queue, waiting=count, oldest_at=oldest[queue]) for queue, count in longest],
        open=dict(open_.most_common(ACCOUNTS_LIMIT)),
    )
