"""A deleted version takes its owner's predictions with it, and nothing else."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.contracts.ids import new_id
from tidemill.storage_janitor.handlers import orphans, versions

LONG_AGO = datetime.now(UTC) - timedelta(days=30)


class Deleted:
    def __init__(self, world):
        self.world, self.queue, self.id = world, new_id(), "f" * 64

    async def note(self, **changes):
        columns = {
            "queue": self.queue,
            "id": self.id,
            "model": "a/m",
            "account_id": "a",
            "created_at": LONG_AGO,
            "removed_at": LONG_AGO,
            **changes,
        }
        await self.world.insert("removed_version", **columns)

    async def prediction(self, **changes):
        return await self.world.prediction(**{"version": self.id, "queue": self.queue, **changes})

    async def noted(self):
        return await self.world.database.value("SELECT count(*) FROM removed_version")


@pytest.fixture
async def deleted(world):
    await world.database.execute("TRUNCATE removed_version")
    return Deleted(world)


async def is_deleted(world, prediction):
    return (await world.get(prediction))["deleted_at"] is not None


async def test_predictions_and_files_of_a_deleted_version_go(context, world, deleted):
    await deleted.note()
    shown = [await deleted.prediction(files=["a"], **more) for more in ({}, {"source": "web"}, {"status": "failed"})]
    delivery = await world.delivery(shown[0], "delivered")
    others = [
        await deleted.prediction(files=["a"], **more)
        for more in ({"version": "e" * 64}, {"model": "a/n"}, {"account_id": "b"}, {"kind": "training"})
    ]
    for _ in range(2):
        await versions.removed_versions(context)
        for prediction in shown:
            assert await is_deleted(world, prediction)
            assert await world.removed(prediction)
            assert not await world.keys(f"outputs/{prediction}/")
        for prediction in others:
            assert not await is_deleted(world, prediction)
            assert await world.keys(f"outputs/{prediction}/")
    assert await world.body(delivery) is None
    assert await deleted.noted() == 0


async def test_open_ones_go_when_they_have_ended(context, world, deleted):
    await deleted.note()
    prediction = await deleted.prediction(status="processing", completed_at=None, files=["a"])
    await versions.removed_versions(context)
    assert not await is_deleted(world, prediction)
    assert await deleted.noted() == 1
    await world.database.execute("UPDATE prediction SET status = 'succeeded', completed_at = now()")
    await versions.removed_versions(context)
    assert await is_deleted(world, prediction)
    assert await deleted.noted() == 0


async def test_a_young_note_stays_for_what_gateways_still_accept(context, world, deleted):
    await deleted.note(removed_at=datetime.now(UTC))
    early = await deleted.prediction()
    await versions.removed_versions(context)
    assert await is_deleted(world, early)
    late = await deleted.prediction()
    await versions.removed_versions(context)
    assert await is_deleted(world, late)
    assert await deleted.noted() == 1


async def test_the_same_files_pushed_again_are_another_version(context, world, deleted):
    await deleted.note()
    again = new_id()
    await world.insert(
        "version",
        queue=again,
        id=deleted.id,
        model_id=await world.model(),
        cog_version="0",
        openapi_schema="{}",
        files=json.dumps([]),
        config="{}",
        streams=False,
    )
    old, new = await deleted.prediction(), await deleted.prediction(queue=again)
    await versions.removed_versions(context)
    assert (await is_deleted(world, old), await is_deleted(world, new)) == (True, False)


async def test_many_go_in_batches(context, world, deleted, monkeypatch):
    monkeypatch.setattr("tidemill.storage_janitor.store_versions.BATCH", 2)
    await deleted.note()
    predictions = [await deleted.prediction() for _ in range(5)]
    open_ = await deleted.prediction(status="starting", completed_at=None)
    await versions.removed_versions(context)
    assert all([await is_deleted(world, prediction) for prediction in predictions])
    assert not await is_deleted(world, open_)


async def test_a_janitor_that_no_longer_leads_leaves_them(context, world, deleted):
    await deleted.note()
    prediction = await deleted.prediction()
    context.leader.held = False
    await versions.removed_versions(context)
    assert not await is_deleted(world, prediction)
    assert await deleted.noted() == 1


async def test_blobs_of_a_deleted_version_are_freed(old_enough, world, deleted):
    digest = f"{7:064x}"
    await world.blob(digest)
    await world.version(digest)
    await orphans.blob_rows(old_enough)
    assert await world.blobs() == {digest}
    await world.database.execute("DELETE FROM version")
    await deleted.note()
    await orphans.blob_rows(old_enough)
    await orphans.blob_objects(old_enough)
    assert await world.blobs() == set()
    assert await world.keys("blobs/") == set()
