"""The health of endpoints: which delivery may probe, and what a result means for its endpoint."""

import random
from typing import Final

from tidemill.runtime.db import Database, Row, retry_transient
from tidemill.runtime.telemetry import log
from tidemill.webhook_dispatcher import circuit_breaker, store_endpoints
from tidemill.webhook_dispatcher.circuit_breaker import Admission, EndpointHealth
from tidemill.webhook_dispatcher.concurrency_limits import EndpointKey
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.rules import Verdict

WHOLE_HOST: Final = ""  # the path in the row of a whole endpoint


class EndpointMonitor:
    """Reads and updates the health of endpoints. `row` is always a leased delivery."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config = config
        self._database = database

    async def claim_probe(self, row: Row, lease_s: float) -> bool:
        """Return whether this delivery may be tried: the only probe of a half-open breaker among all dispatchers."""

        def decide(health: EndpointHealth, now: float) -> EndpointHealth | None:
            if circuit_breaker.admission(health, now) is Admission.PROBE:
                return circuit_breaker.start_probe(health, now, lease_s)
            return health if circuit_breaker.admission(health, now) is Admission.SEND else None

        return await self._update_health(row, decide) is not None

    async def record(self, row: Row, verdict: Verdict) -> None:
        if verdict is Verdict.RETRY:
            await self._update_health(row, lambda health, now: self._failed(row, health, now))
            return
        if verdict is Verdict.GIVE_UP:
            await self._disable_path(row)
        if not row["recently_healthy"]:
            gone = verdict is Verdict.GIVE_UP
            await self._update_health(row, _keep_disabled if gone else circuit_breaker.after_success)

    def _failed(self, row: Row, health: EndpointHealth, now: float) -> EndpointHealth:
        failed = circuit_breaker.after_failure(
            health,
            now,
            randomness=random.random(),
            probe=row["probing"],
            disable_after_s=self._config.disable_after_s,
            scale=self._config.retry_scale,
        )
        if failed.disabled_at is not None and health.disabled_at is None:
            self._log_disabled(row, failed)
        return failed

    async def _disable_path(self, row: Row) -> None:
        """Disable only the path: services with one host for many customers send 410 for a deleted hook."""

        def disable(health: EndpointHealth, now: float) -> EndpointHealth | None:
            if health.disabled_at is not None:
                return None
            disabled = circuit_breaker.disable(health, now, "it answered 410 Gone")
            self._log_disabled(row, disabled)
            return disabled

        await self._update_health(row, disable, row["path"])

    @staticmethod
    def _log_disabled(row: Row, health: EndpointHealth) -> None:
        log().warning(
            "endpoint disabled",
            action="disable",
            account=row["account_id"],
            host=row["host"],
            reason=health.disabled_reason,
        )

    async def _update_health(
        self, row: Row, decide: store_endpoints.Decide, path: str = WHOLE_HOST
    ) -> EndpointHealth | None:
        endpoint = EndpointKey(row["account_id"], row["host"])
        return await retry_transient(
            "endpoint", lambda: store_endpoints.update_health(self._database, endpoint, path, decide)
        )


def _keep_disabled(health: EndpointHealth, _now: float) -> EndpointHealth:
    return circuit_breaker.after_response(health)
