"""The health of endpoints: who may be tried, and what a try says of its endpoint."""

import random
from typing import Final

from tidemill.runtime.db import Database, Row, retry_transient
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import breaker, store_endpoints
from tidemill.webhook_dispatcher.breaker import Admission, Health
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.lanes import Endpoint
from tidemill.webhook_dispatcher.rules import Verdict

HOST: Final = ""  # the path of a whole endpoint's row


class Endpoints:
    """`row` is a leased delivery throughout."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config = config
        self._database = database

    async def may_probe(self, row: Row, lease_s: float) -> bool:
        """Whether this delivery is the one that a half-open breaker lets through, among all dispatchers."""

        def decide(health: Health, now: float) -> Health | None:
            if breaker.admission(health, now) is Admission.PROBE:
                return breaker.probing(health, now, lease_s)
            return health if breaker.admission(health, now) is Admission.SEND else None

        return await self._revise(row, decide) is not None

    async def record(self, row: Row, verdict: Verdict) -> None:
        if verdict is Verdict.RETRY:
            await self._revise(row, lambda health, now: self._failed(row, health, now))
            return
        if verdict is Verdict.GIVE_UP:
            await self._gone(row)
        if not row["seen_well"]:
            gone = verdict is Verdict.GIVE_UP
            await self._revise(row, _answered if gone else breaker.after_success)

    def _failed(self, row: Row, health: Health, now: float) -> Health:
        failed = breaker.after_failure(
            health,
            now,
            randomness=random.random(),
            probe=row["probing"],
            disable_after_s=self._config.disable_after_s,
            scale=self._config.retry_scale,
        )
        if failed.disabled_at is not None and health.disabled_at is None:
            self._tell_disabled(row, failed)
        return failed

    async def _gone(self, row: Row) -> None:
        """Of the path alone: services with one host for many customers answer it for a hook that was deleted."""

        def disable(health: Health, now: float) -> Health | None:
            if health.disabled_at is not None:
                return None
            gone = breaker.disabled(health, now, "it answered 410 Gone")
            self._tell_disabled(row, gone)
            return gone

        await self._revise(row, disable, row["path"])

    @staticmethod
    def _tell_disabled(row: Row, health: Health) -> None:
        log().warning(
            "endpoint disabled",
            action="disable",
            account=row["account_id"],
            host=row["host"],
            reason=health.disabled_reason,
        )

    async def _revise(self, row: Row, decide: store_endpoints.Decide, path: str = HOST) -> Health | None:
        place = Endpoint(row["account_id"], row["host"])
        return await retry_transient("endpoint", lambda: store_endpoints.revise(self._database, place, path, decide))


def _answered(health: Health, _now: float) -> Health:
    return breaker.after_answer(health)
