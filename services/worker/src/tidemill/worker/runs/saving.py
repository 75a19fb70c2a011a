"""Keeps the rows of long runs up to date, for those who poll them."""

import asyncio

from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.run_writer import RunWriter


async def save_progress(engine: Engine, records: RunWriter, every_s: float) -> None:
    """Named task: rows of long runs show how far they are."""
    while True:
        await asyncio.sleep(every_s)
        dirty = [run for run in engine.runs.values() if run.dirty and run.claimed and not run.lost]
        if dirty:
            await records.save(dirty)
