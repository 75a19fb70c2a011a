"""Which release a deployment's new prediction goes to, remembered for a few seconds like versions are."""

from collections.abc import Callable

import msgspec

from tidemill.contracts.errors import Problem, not_found
from tidemill.gateway.predictions.versions import Runnable, Versions
from tidemill.gateway.releases import rollout, store_deployments
from tidemill.gateway.releases.rollout import Candidate
from tidemill.gateway.releases.store_deployments import Place
from tidemill.gateway.remembered import Remembered
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import Database


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """The releases of a deployment, the current one first, and what each of them runs, by queue."""

    looked_up_at: float
    releases: tuple[Candidate, ...]
    runnables: dict[str, Runnable]


class Deployments:
    """Resolves deployments for one gateway."""

    def __init__(self, database: Database, versions: Versions, cache_s: float, is_warm: Callable[[str], bool]) -> None:
        self._database = database
        self._versions = versions
        self._cache_s = cache_s
        self._is_warm = is_warm
        self._found: Remembered[Place, Deployed] = Remembered(self._find)

    async def resolve(self, account_id: str, owner: str, name: str) -> Runnable:
        """What a new prediction runs, with the release's queue. Raises the 404 and 422 problems."""
        deployed = await self._found.get(Place(account_id, owner, name))
        if deployed.releases[0].max_instances == 0:
            raise rollout.disabled(f"{owner}/{name}")
        age_s = monotonic() - deployed.looked_up_at
        return deployed.runnables[rollout.choose(deployed.releases, self._is_warm, age_s).queue]

    def forget(self, place: Place) -> None:
        """It has changed."""
        self._found.forget(lambda known, _: known == place)

    async def _find(self, place: Place) -> tuple[Deployed, float]:
        looked_up_at = monotonic()
        rows = await store_deployments.releases(self._database, place)
        if not rows:
            raise not_found()
        candidates, runnables = [], {}
        for row in rows:
            try:  # who has lost sight of a model cannot run it any more, deployed or not
                runnable = await self._versions.resolve(place.account_id, f"{row['model']}:{row['version']}")
            except Problem:
                if not row["retired"]:
                    raise
                continue
            queue, deployment = row["queue"], f"{place.owner}/{place.name}"
            runnables[queue] = msgspec.structs.replace(runnable, queue=queue, deployment=deployment)
            candidates.append(Candidate(**{field: row[field] for field in Candidate.__struct_fields__}))
        deployed = Deployed(looked_up_at=looked_up_at, releases=tuple(candidates), runnables=runnables)
        return deployed, self._cache_s
