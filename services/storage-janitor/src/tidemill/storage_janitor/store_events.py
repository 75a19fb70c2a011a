"""The SQL of events that durable consumers have missed."""

from datetime import datetime
from typing import Final, NamedTuple

from tidemill.runtime.db import Database, Row

CONSUMERS: Final = "SELECT id, kinds FROM event_consumer WHERE account_id = $1"
MISSED: Final = """
UPDATE event_consumer SET missed = missed + $2, missed_since = COALESCE(missed_since, $3),
    missed_until = GREATEST(missed_until, $4)
WHERE id = $1"""


class MissedEvents(NamedTuple):
    """Events that a consumer will never get, from the time of the first to the time of the first one kept."""

    consumer: str
    events: int
    since: datetime
    until: datetime


async def consumers(database: Database, account: str) -> list[Row]:
    return await database.fetch(CONSUMERS, account)


async def record_missed(database: Database, missed: MissedEvents) -> None:
    await database.execute(MISSED, *missed)
