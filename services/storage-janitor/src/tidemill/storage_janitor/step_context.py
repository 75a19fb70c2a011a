"""What the steps share: settings, database, object store, bus, and the leadership of this process."""

from typing import Final, NamedTuple

from prometheus_client import Counter

from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.leader import Leader
from tidemill.runtime.objects.store import Objects
from tidemill.runtime.telemetry import log
from tidemill.storage_janitor.config import Config
from tidemill.storage_janitor.stored_objects import StoredObject

REMOVED: Final = Counter("tidemill_janitor_removed_total", "Things that the storage janitor has removed.", ["kind"])


class StepContext(NamedTuple):
    config: Config
    database: Database
    objects: Objects
    leader: Leader
    bus: Bus


async def list_objects(objects: Objects, prefix: str) -> list[StoredObject]:
    return [StoredObject(item.object_name, item.last_modified.timestamp()) for item in await objects.list(prefix)]


def record_removed(kind: str, count: int) -> None:
    """Count and log what one batch removed."""
    if count:
        REMOVED.labels(kind).inc(count)
        log().info("removed", action="remove", kind=kind, count=count)
