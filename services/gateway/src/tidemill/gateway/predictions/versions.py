"""Resolves the version reference of a create to a runnable version; results are cached for a few seconds."""

import re
from typing import Any, Final, Protocol

import msgspec

from tidemill.contracts.errors import invalid_version, not_found
from tidemill.gateway import stores
from tidemill.gateway.predictions.validation import Check, checker
from tidemill.gateway.ttl_cache import TtlCache
from tidemill.runtime.db import Database, Row
from tidemill.runtime.streams.urls import Carried

REFERENCE: Final = re.compile(
    r"(?:(?P<owner>[a-z0-9._-]{1,64})/(?P<name>[a-z0-9._-]{1,64}))?(?:(?:^|:)(?P<id>[0-9a-f]{64}))?"
)


class Runnable(msgspec.Struct, frozen=True):
    """A version that the account may run."""

    model: str
    version: str
    queue: str
    streams: Carried | None
    check: Check
    schema: dict[str, Any]
    deployment: str | None = None  # owner/name, if `queue` is the queue of its release
    destination: str | None = None  # owner/name, if `queue` is the version's queue for trainings
    secrets: frozenset[str] = frozenset()  # names of secret inputs


class Versions:
    """Resolves references for one gateway."""

    def __init__(self, database: Database, cache_s: float) -> None:
        self._database = database
        self._cache_s = cache_s
        self._found: TtlCache[tuple[str, str], Runnable | None] = TtlCache(self._find)
        self._by_queue: dict[
            str, Runnable
        ] = {}  # a queue's version never changes, and its validator is expensive to build

    async def resolve(self, account_id: str, reference: str) -> Runnable:
        """Resolve `64hex`, `owner/name:64hex` or `owner/name` (the latest version). Raise the 422 problem."""
        runnable = await self._found.get((account_id, reference))
        if runnable is None:
            raise invalid_version()
        return runnable

    async def latest(self, account_id: str, owner: str, name: str) -> Runnable:
        """Return the latest version of the model in the path. Raise the 404 problem if there is none."""
        runnable = await self._found.get((account_id, f"{owner}/{name}"))
        if runnable is None:
            raise not_found()
        return runnable

    def forget(self) -> None:
        """Clear the cache, after a change of a version or model here. Other gateways' caches expire."""
        self._found.invalidate()

    async def _find(self, asked: tuple[str, str]) -> tuple[Runnable | None, float]:
        account_id, reference = asked
        match = REFERENCE.fullmatch(reference)
        if match is None or not reference:
            return None, self._cache_s
        row = await stores.versions.find_runnable(
            self._database, account_id, match["owner"], match["name"], match["id"]
        )
        return None if row is None else self._runnable(row), self._cache_s

    def _runnable(self, row: Row) -> Runnable:
        known = self._by_queue.get(row["queue"])
        if known is None:
            schema = msgspec.json.decode(row["openapi_schema"])
            carried: Carried | None = "files" if row["streams_files"] else "text" if row["streams"] else None
            known = Runnable(
                model=f"{row['owner']}/{row['name']}",
                version=row["id"],
                queue=row["queue"],
                streams=carried,
                check=checker(schema),
                schema=schema,
                secrets=frozenset(row["secret_inputs"]),
            )
            self._by_queue[row["queue"]] = known
        return known


class HasVersions(Protocol):
    @property
    def versions(self) -> Versions: ...
