"""Resolves a deployment to the release that takes a new prediction. Releases are cached for a few seconds."""

from collections.abc import Callable

import msgspec

from tidemill.contracts.errors import Problem, not_found
from tidemill.gateway import stores
from tidemill.gateway.predictions.versions import Runnable, Versions
from tidemill.gateway.releases import rollout
from tidemill.gateway.releases.rollout import ReleaseCandidate
from tidemill.gateway.stores.deployments import DeploymentName
from tidemill.gateway.ttl_cache import TtlCache
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import Database


class DeployedReleases(msgspec.Struct, frozen=True, kw_only=True):
    """The releases of a deployment, the current one first, and the runnable of each by queue."""

    looked_up_at: float
    releases: tuple[ReleaseCandidate, ...]
    runnables: dict[str, Runnable]


class DeploymentResolver:
    """`is_warm`: whether a queue has a ready instance."""

    def __init__(self, database: Database, versions: Versions, cache_s: float, is_warm: Callable[[str], bool]) -> None:
        self._database = database
        self._versions = versions
        self._cache_s = cache_s
        self._is_warm = is_warm
        self._releases: TtlCache[DeploymentName, DeployedReleases] = TtlCache(self._find)

    async def resolve(self, account_id: str, owner: str, name: str) -> Runnable:
        """Return what a new prediction runs, with the release's queue. Raise the 404 and 422 problems."""
        deployed = await self._releases.get(DeploymentName(account_id, owner, name))
        if deployed.releases[0].max_instances == 0:
            raise rollout.disabled(f"{owner}/{name}")
        age_s = monotonic() - deployed.looked_up_at
        return deployed.runnables[rollout.choose_release(deployed.releases, self._is_warm, age_s).queue]

    def invalidate(self, name: DeploymentName) -> None:
        """Look the deployment up again: it was changed or deleted."""
        self._releases.invalidate(lambda known, _: known == name)

    async def _find(self, name: DeploymentName) -> tuple[DeployedReleases, float]:
        looked_up_at = monotonic()
        rows = await stores.deployments.list_releases(self._database, name)
        if not rows:
            raise not_found()
        candidates, runnables = [], {}
        for row in rows:
            try:  # a model that the account may no longer see cannot be run, deployed or not
                runnable = await self._versions.resolve(name.account_id, f"{row['model']}:{row['version']}")
            except Problem:
                if not row["retired"]:
                    raise
                continue
            queue, deployment = row["queue"], f"{name.owner}/{name.name}"
            runnables[queue] = msgspec.structs.replace(runnable, queue=queue, deployment=deployment)
            candidates.append(ReleaseCandidate(**{field: row[field] for field in ReleaseCandidate.__struct_fields__}))
        deployed = DeployedReleases(looked_up_at=looked_up_at, releases=tuple(candidates), runnables=runnables)
        return deployed, self._cache_s
