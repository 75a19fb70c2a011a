"""Reads changed deployments every second, so that a new leader knows their minimum instances at its first plan."""

import asyncio
from typing import Final

from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.scheduler import store
from tidemill.scheduler.deployment_policies import DeploymentPolicies

EVERY_S: Final = 1.0  # how soon a change takes effect; the statement reads only changes
FORGET_EVERY_S: Final = 600.0  # what is forgotten is a day old already


async def poll_deployments(database: Database, policies: DeploymentPolicies) -> None:
    """Run as a named task. While the database is unavailable, the last known policies stay in effect."""
    forget_at = monotonic() + FORGET_EVERY_S
    while True:
        try:
            policies.update(await store.deployments(database, policies.changed_at, monotonic()))
        except TRANSIENT_ERRORS as error:
            log().warning("database unavailable", action="retry", what="deployments", error=str(error))
        if monotonic() >= forget_at:
            policies.forget_old(monotonic())
            forget_at = monotonic() + FORGET_EVERY_S
        await asyncio.sleep(EVERY_S)
