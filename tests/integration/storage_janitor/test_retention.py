"""Data of API predictions goes an hour after completion, and nothing else does."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.runtime.objects.store import ObjectStoreError
from tidemill.storage_janitor.handlers import predictions


def ago(**context):
    return datetime.now(UTC) - timedelta(**context)


async def test_data_goes_and_metadata_stays(context, world):
    with_files = await world.prediction(files=["0/a.png", "1/b.png"])
    without = await world.prediction(status="failed", output=None, error="no")
    await predictions.scan(context)
    for prediction in (with_files, without):
        assert await world.removed(prediction)
    assert await world.keys("outputs/") == set()
    row = await world.get(without)
    assert (row["status"], row["error"], row["model"]) == ("failed", "no", "a/m")


async def test_the_metric_says_how_far_behind_it_is_while_the_store_is_away(context, world, monkeypatch):
    await world.prediction(files=["a"])

    async def away(_keys):
        raise ObjectStoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(context.objects, "delete", away)
        with pytest.raises(ObjectStoreError):
            await predictions.scan(context)
    assert predictions.BEHIND._value.get() > 3600 - 60  # made two hours ago, due an hour ago
    await predictions.scan(context)
    assert predictions.BEHIND._value.get() == 0


async def test_the_row_is_cleared_only_when_the_files_have_gone(context, world, monkeypatch):
    """Cleared first, it would name the files no longer, and a crash would leave them to the search for orphans."""
    prediction = await world.prediction(files=["a"])
    delete, cleared = context.objects.delete, []

    async def looking(keys):
        cleared.append(await world.removed(prediction))
        await delete(keys)

    monkeypatch.setattr(context.objects, "delete", looking)
    await predictions.scan(context)
    assert cleared == [False]
    assert await world.removed(prediction)


async def test_files_that_a_failed_run_left_unnamed_go_too(context, world):
    prediction = await world.prediction(status="canceled", output=None)
    await world.put(f"outputs/{prediction}/0/half.png")
    await predictions.scan(context)
    assert await world.keys("outputs/") == set()


async def test_what_is_young_open_an_example_or_made_on_the_web_stays(context, world):
    await world.account()
    young = await world.prediction(completed_at=ago(minutes=59), files=["a"])
    open_ = await world.prediction(status="processing", completed_at=None, files=["a"])
    web = await world.prediction(source="web", files=["a"])
    example = await world.prediction(files=["a"])
    await world.insert("example", model_id=await world.model(), prediction_id=example)
    for _ in range(2):
        await predictions.scan(context)
        await predictions.remove_deferred(context)
    for prediction in (young, open_, web, example):
        assert not await world.removed(prediction)
        assert await world.keys(f"outputs/{prediction}/")


async def test_what_ran_for_long_goes_when_its_own_hour_is_over(context, world):
    prediction = await world.prediction(status="processing", completed_at=None, files=["a"])
    await predictions.scan(context)
    await predictions.remove_deferred(context)
    await world.database.execute(
        "UPDATE prediction SET status = 'succeeded', completed_at = now() - interval '61 minutes'"
    )
    await predictions.scan(context)
    assert not await world.removed(prediction)
    await predictions.remove_deferred(context)
    assert await world.removed(prediction)
    assert await world.keys("outputs/") == set()
    assert await world.database.value("SELECT count(*) FROM removal_due_later") == 0


async def test_a_former_example_goes(context, world):
    prediction = await world.prediction()
    await world.insert("example", model_id=await world.model(), prediction_id=prediction)
    await predictions.scan(context)
    await world.database.execute("DELETE FROM example")
    await predictions.remove_deferred(context)
    assert await world.removed(prediction)


async def test_copies_of_a_former_examples_input_go_with_it(context, world):
    prediction = await world.prediction(input='{"audio": "http://127.0.0.1/v1/delivery/token/a.mp3"}')
    await world.put(f"outputs/{prediction}/input-0/a.mp3")
    await world.insert("example", model_id=await world.model(), prediction_id=prediction)
    await predictions.scan(context)
    await predictions.remove_deferred(context)
    assert await world.keys(f"outputs/{prediction}/")
    await world.database.execute("DELETE FROM example")
    await predictions.remove_deferred(context)
    assert await world.removed(prediction)
    assert await world.keys(f"outputs/{prediction}/") == set()


async def test_bodies_of_finished_deliveries_go_and_those_of_open_ones_wait(context, world):
    prediction = await world.prediction()
    delivered = await world.delivery(prediction, "delivered")
    pending = await world.delivery(prediction, "pending")
    await predictions.scan(context)
    assert await world.removed(prediction)
    assert await world.body(delivered) is None
    await predictions.remove_deferred(context)
    assert await world.body(pending) == "secret"
    await world.database.execute("UPDATE webhook_delivery SET status = 'failed'")
    await predictions.remove_deferred(context)
    assert await world.body(pending) is None
    assert await world.database.value("SELECT count(*) FROM removal_due_later") == 0


async def test_what_receivers_answered_goes_with_the_bodies(context, world):
    prediction = await world.prediction()
    delivered = await world.delivery(prediction, "delivered")
    log = '[{"status": 500, "response": "secret"}, {"status": 200, "response": "secret"}]'
    await world.database.execute("UPDATE webhook_delivery SET log = $1", log)
    await predictions.scan(context)
    kept = await world.database.value("SELECT log FROM webhook_delivery WHERE id = $1", delivered)
    assert json.loads(kept) == [{"status": 500}, {"status": 200}]


async def test_each_stretch_is_read_once(context, world):
    await world.prediction()
    await predictions.scan(context)
    reached = await world.database.value("SELECT reached FROM walk WHERE name = 'retention'")
    assert ago(seconds=3700) < reached < ago(seconds=3599)
    missed = await world.prediction()  # accepted where the walk has been: only a walk that began anew would find it
    await predictions.scan(context)
    assert not await world.removed(missed)


async def test_many_are_removed_in_batches(context, world):
    await world.database.execute(
        "INSERT INTO prediction (id, account_id, model, version, queue, gateway, status, input, output, metrics, "
        "created_at, accepted_at, completed_at) SELECT 'p' || n, 'a', 'a/m', 'v', 'q', 'g', 'succeeded', "
        "'{\"secret\": 1}', '1', '{}', at, at, at FROM generate_series(1, 2500) n, "
        "LATERAL (SELECT now() - interval '2 days' + make_interval(secs => n / 10.0) AS at) t"
    )
    await predictions.scan(context)
    assert await world.database.value("SELECT count(*) FROM prediction WHERE NOT data_removed") == 0


async def test_a_janitor_that_no_longer_leads_stops(context, world):
    prediction = await world.prediction()
    context.leader.held = False
    await predictions.scan(context)
    await predictions.remove_deferred(context)
    assert not await world.removed(prediction)
