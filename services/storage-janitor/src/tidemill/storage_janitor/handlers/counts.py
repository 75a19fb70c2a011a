"""How often each model was run, as models show it: counted here rather than with every prediction."""

from typing import Final

from tidemill.storage_janitor import store, store_counts
from tidemill.storage_janitor.handlers.parts import Parts

SLICE_S: Final = 600.0  # bounds one statement after an outage: a million rows at 2,000 predictions a second


async def runs(parts: Parts) -> None:
    now = await store.now(parts.database)  # once: chasing a clock that goes on would never end
    while parts.leader.held and await store_counts.count(parts.database, now, SLICE_S):
        pass
