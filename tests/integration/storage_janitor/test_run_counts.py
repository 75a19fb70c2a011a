"""Runs are counted once each, whatever breaks."""

from datetime import UTC, datetime, timedelta

import pytest

from tidemill.storage_janitor.handlers import run_counts


@pytest.fixture
async def model(world):
    name = await world.model()

    class Model:
        async def runs(self):
            return await world.database.value("SELECT run_count FROM model WHERE id = $1", name)

        async def run(self, times=1, **changes):
            for _ in range(times):
                await world.prediction(**{"model": f"a/{name}", **changes})

    return Model()


async def test_each_run_counts_once(context, model):
    await model.run(3)
    await model.run(kind="training")
    await model.run(model="a/gone")
    for _ in range(3):
        await run_counts.count_runs(context)
        assert await model.runs() == 3


async def test_later_runs_are_added_and_very_young_ones_wait(context, model):
    await model.run(2)
    await run_counts.count_runs(context)
    now = datetime.now(UTC)
    await model.run(accepted_at=now)
    await run_counts.count_runs(context)
    assert await model.runs() == 2
    await context.database.execute("UPDATE prediction SET accepted_at = now() - interval '10 seconds' WHERE id > ''")
    await context.database.execute("UPDATE walk SET reached = now() - interval '20 seconds'")
    await run_counts.count_runs(context)
    assert await model.runs() == 5


async def test_a_count_that_breaks_off_is_made_good(context, model, monkeypatch):
    await model.run(2, accepted_at=datetime.now(UTC) - timedelta(minutes=5))
    with monkeypatch.context() as patch:
        patch.setattr("tidemill.runtime.scan.ADVANCE", "SELECT 1 / 0, $1::text, $2::timestamptz")
        with pytest.raises(Exception, match="division"):
            await run_counts.count_runs(context)
    assert await model.runs() == 0
    await run_counts.count_runs(context)
    assert await model.runs() == 2


async def test_a_janitor_that_no_longer_leads_counts_nothing(context, model):
    await model.run()
    context.leader.held = False
    await run_counts.count_runs(context)
    assert await model.runs() == 0
