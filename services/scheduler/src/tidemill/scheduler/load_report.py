"""The load report for gateways: how many predictions wait in each queue, since when, and how many each account has
open.

Pure. The report is a hint: gateways throttle by it, and accept predictions when they have none.
"""

from collections import Counter
from collections.abc import Iterable
from heapq import nlargest
from typing import Final

from tidemill.contracts.events import LoadReport, QueueLoad
from tidemill.scheduler.sweep_decisions import OpenPrediction

# Together well below NATS's limit of 1 MB. Gateways throttle those with the most, so the largest entries are kept.
QUEUES_LIMIT: Final = 3_000
ACCOUNTS_LIMIT: Final = 10_000


def build_load_report(rows: Iterable[OpenPrediction], now: float, behind_s: float) -> LoadReport:
    """Build the report from all known open predictions. Times are unix seconds of the database's clock."""
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
