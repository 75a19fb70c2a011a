"""Counts how often each model was run, in batches instead of with every prediction."""

from typing import Final

from tidemill.storage_janitor import store, store_counts
from tidemill.storage_janitor.step_context import StepContext

SLICE_S: Final = 600.0  # bounds one statement after an outage: a million rows at 2,000 predictions a second


async def count_runs(context: StepContext) -> None:
    now = await store.now(context.database)  # read once: a clock that advances would keep the loop running
    while context.leader.held and await store_counts.count(context.database, now, SLICE_S):
        pass
