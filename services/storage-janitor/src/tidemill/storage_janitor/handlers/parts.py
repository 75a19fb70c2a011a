"""What the steps of a round share: the record, the object store, and whether this janitor may go on."""

from typing import Final, NamedTuple

from prometheus_client import Counter

from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.leader import Leader
from tidemill.runtime.objects.store import Objects
from tidemill.runtime.telemetry import log
from tidemill.storage_janitor.config import Config
from tidemill.storage_janitor.leftovers import Stored

REMOVED: Final = Counter("tidemill_janitor_removed_total", "Things that the storage janitor has removed.", ["kind"])


class Parts(NamedTuple):
    config: Config
    database: Database
    objects: Objects
    leader: Leader
    bus: Bus


async def listed(objects: Objects, prefix: str) -> list[Stored]:
    return [Stored(item.object_name, item.last_modified.timestamp()) for item in await objects.list(prefix)]


def removed(kind: str, count: int) -> None:
    """Counts and logs the progress of one batch."""
    if count:
        REMOVED.labels(kind).inc(count)
        log().info("removed", action="remove", kind=kind, count=count)
