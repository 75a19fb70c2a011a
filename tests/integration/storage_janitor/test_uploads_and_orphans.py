"""Uploads past their time, and what nobody refers to; never what somebody does or may still."""

import asyncio
from datetime import UTC, datetime, timedelta

from tidemill.runtime.objects.retries import RetryBudget
from tidemill.storage_janitor import store, store_uploads
from tidemill.storage_janitor.handlers import orphans, uploads


def digest(n):
    return f"{n:064x}"


async def test_expired_files_go_with_their_objects(context, world):
    expired = await world.file(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    kept = await world.file(expires_at=datetime.now(UTC) + timedelta(hours=1))
    await uploads.expired_files(context)
    assert {row["id"] for row in await world.database.fetch("SELECT id FROM file")} == {kept}
    assert await world.keys("files/") == {f"files/{kept}"}
    assert expired != kept


async def test_a_push_that_was_never_finished_fails(context, world):
    abandoned = await world.push(digest(1))
    young = await world.push(digest(1), created_at=datetime.now(UTC))
    building = await world.push(digest(1), status="building")
    await uploads.abandoned_pushes(context)
    rows = {row["id"]: row for row in await world.database.fetch("SELECT * FROM push")}
    assert (rows[abandoned]["status"], rows[young]["status"], rows[building]["status"]) == (
        "failed", "uploading", "building",
    )  # fmt: skip
    assert rows[abandoned]["error"]
    assert rows[abandoned]["completed_at"] is not None


async def test_blobs_that_nothing_refers_to_go(old_enough, world):
    await world.blob(digest(1))
    await world.blob(digest(2))
    await world.version(digest(2))
    await world.blob(digest(3))
    await world.push(digest(3))
    await world.blob(digest(4))
    await world.push(digest(4), status="failed")
    await orphans.blob_rows(old_enough)
    await orphans.blob_objects(old_enough)
    assert await world.blobs() == {digest(2), digest(3)}
    assert await world.keys("blobs/") == {f"blobs/{digest(n)}" for n in (2, 3)}


async def test_young_blobs_wait_for_their_push(context, world):
    await world.blob(digest(1), created_at=datetime.now(UTC))
    await world.put(f"blobs/{digest(2)}")  # its row is about to be written
    await orphans.blob_rows(context)
    await orphans.blob_objects(context)
    assert await world.blobs() == {digest(1)}
    assert len(await world.keys("blobs/")) == 2


async def test_a_blob_of_two_accounts_goes_with_the_last_of_them(old_enough, world):
    await world.blob(digest(1), account="a")
    await world.blob(digest(1), account="b")
    await world.version(digest(1), account="b")
    await orphans.blob_rows(old_enough)
    await orphans.blob_objects(old_enough)
    assert await world.keys("blobs/") == {f"blobs/{digest(1)}"}


async def test_a_push_made_after_the_look_keeps_its_blobs(old_enough, world):
    await world.blob(digest(1))
    created_before = await store.now(world.database) + 60
    found = await store_uploads.unreferenced_blobs(world.database, created_before)
    assert found.digests == [digest(1)]
    await world.push(digest(1), created_at=datetime.now(UTC))
    assert await store_uploads.delete_blobs(world.database, found, created_before) == 0
    assert await world.blobs() == {digest(1)}


async def test_a_push_that_is_being_committed_is_waited_for(old_enough, world):
    await world.blob(digest(1))
    model = await world.model()
    created_before = await store.now(world.database) + 60
    found = await store_uploads.unreferenced_blobs(world.database, created_before)
    async with world.database.transaction() as push:
        await push.execute(
            "INSERT INTO push (id, account_id, model_id, status, files) VALUES ('p', 'a', $1, 'uploading', $2)",
            model,
            f'[{{"path": "p", "sha256": "{digest(1)}", "size": 5}}]',
        )
        deleting = asyncio.create_task(store_uploads.delete_blobs(world.database, found, created_before))
        while not await world.database.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not deleting.done()
    assert await deleting == 0
    assert await world.blobs() == {digest(1)}


async def test_an_upload_that_ends_while_its_object_is_deleted_must_be_repeated(old_enough, world, monkeypatch):
    await world.put(f"blobs/{digest(1)}")
    delete = type(world.objects).delete

    async def delete_late(self, keys):
        await world.account()
        await world.insert("blob", account_id="a", digest=digest(1), size=5)
        await delete(self, keys)

    monkeypatch.setattr(type(world.objects), "delete", delete_late)
    await orphans.blob_objects(old_enough)
    assert await world.blobs() == set()


async def test_objects_of_outputs_and_uploads_without_a_row_go(old_enough, world):
    kept = await world.prediction(files=["a"])
    removed = await world.prediction(files=["late"], data_removed=True, input="{}", output=None, logs=None)
    await world.put("outputs/unknown/a")
    file = await world.file(expires_at=datetime.now(UTC) + timedelta(hours=1))
    await world.put("files/unknown")
    await orphans.outputs(old_enough)
    await orphans.uploads(old_enough)
    assert await world.keys("outputs/") == {f"outputs/{kept}/a"}
    assert await world.keys("files/") == {f"files/{file}"}
    assert removed != kept


async def test_young_objects_without_a_row_stay(context, world):
    await world.put("outputs/unknown/a")
    await world.put("files/unknown")
    await orphans.outputs(context)
    await orphans.uploads(context)
    assert len(await world.keys("outputs/")) == 1
    assert len(await world.keys("files/")) == 1


async def test_parts_of_objects_that_were_never_completed_go(context, old_enough, world):
    await world.objects._requests.send("POST", "blobs/half", RetryBudget(), query={"uploads": ""})
    await orphans.parts_of_objects(context)
    assert len(world.objects._unfinished()) == 1
    await orphans.parts_of_objects(old_enough)
    assert not world.objects._unfinished()
