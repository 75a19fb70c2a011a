"""Saves the progress of long runs to their rows, for clients that poll."""

import asyncio

from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_writer import RunWriter


async def save_progress(table: RunTable, writer: RunWriter, every_s: float) -> None:
    """Named task."""
    while True:
        await asyncio.sleep(every_s)
        dirty = [run for run in table.runs.values() if run.dirty and run.claimed and not run.lost]
        if dirty:
            await writer.save(dirty)
