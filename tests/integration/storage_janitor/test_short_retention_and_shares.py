"""Data that goes sooner than others', data that stays while it is shared, and what deleted predictions leave behind."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.contracts import subjects
from tidemill.runtime.bus import Announcement
from tidemill.storage_janitor.handlers import predictions
from tidemill.storage_janitor.handlers.predictions import ShortRetention


def ago(**context):
    return datetime.now(UTC) - timedelta(**context)


def times(moment):
    return {"created_at": moment, "accepted_at": moment, "completed_at": moment}


@pytest.fixture
async def short_retentions(world):
    """An account whose data is to go after a minute."""
    await world.account("a")
    await world.account("hasty")
    await world.database.execute("UPDATE account SET retention_s = 60 WHERE id = 'hasty'")
    return "hasty"


async def test_data_of_an_impatient_account_goes_sooner(context, world, short_retentions):
    short = ShortRetention()
    old = await world.prediction(account_id=short_retentions, files=["a"], **times(ago(minutes=2)))
    young = await world.prediction(account_id=short_retentions, files=["a"], **times(ago(seconds=30)))
    of_others = await world.prediction(files=["a"], **times(ago(minutes=2)))
    web = await world.prediction(account_id=short_retentions, source="web", **times(ago(minutes=2)))
    for _ in range(2):
        for step in (predictions.scan, short.scan, predictions.remove_deferred):
            await step(context)
    assert [await world.removed(each) for each in (old, young, of_others, web)] == [True, False, False, False]
    assert await world.keys(f"outputs/{old}/") == set()
    assert await world.keys(f"outputs/{young}/")
    assert await world.keys(f"outputs/{of_others}/")


async def test_what_ran_while_the_walk_passed_goes_when_its_minute_is_over(context, world, short_retentions):
    short = ShortRetention()
    prediction = await world.prediction(
        account_id=short_retentions, status="processing", **{**times(ago(minutes=5)), "completed_at": None}
    )
    await short.scan(context)
    await world.database.execute("UPDATE prediction SET status = 'succeeded', completed_at = now() - interval '30 s'")
    await predictions.remove_deferred(context)
    assert not await world.removed(prediction)
    await world.database.execute("UPDATE prediction SET completed_at = now() - interval '61 s'")
    await predictions.remove_deferred(context)
    assert await world.removed(prediction)


async def test_an_account_that_becomes_impatient_is_heard_at_once(context, world, short_retentions):
    short = ShortRetention()
    mine = await world.prediction(**times(ago(minutes=20)))
    await short.scan(context)
    assert not await world.removed(mine)
    await world.database.execute("UPDATE account SET retention_s = 600 WHERE id = 'a'")
    await short.scan(context)
    assert await world.removed(mine)


async def test_a_retention_over_the_services_own_is_its_own(context, world):
    await world.account("a")
    await world.database.execute("UPDATE account SET retention_s = 100000")
    prediction = await world.prediction()
    await predictions.scan(context)
    assert await world.removed(prediction)


async def test_the_streams_forget_an_impatient_accounts_predictions(context, world, short_retentions):
    short = ShortRetention()
    gone = await world.prediction(account_id=short_retentions, **times(ago(minutes=2)))
    stays = await world.prediction(**times(ago(minutes=2)))
    for prediction in (gone, stays):
        await context.bus.jetstream.publish(subjects.output(prediction), b"{}")
    await context.bus.announce(
        [
            Announcement(subjects.prediction(account, "completed", "g"), b"{}")
            for account in (short_retentions, "a", short_retentions)
        ]
    )
    await world.database.execute("UPDATE account SET retention_s = 0 WHERE id = $1", short_retentions)

    async def held(stream):
        info = await context.bus.jetstream.stream_info(stream.name, subjects_filter=">")
        return info.state.subjects or {}

    await short.scan(context)
    await short.remove_events(context)
    assert set(await held(subjects.OUTPUT)) == {subjects.output(stays)}
    assert set(await held(subjects.PREDICTIONS)) == {subjects.prediction("a", "completed", "g")}
    await context.bus.announce([Announcement(subjects.prediction(short_retentions, "completed", "g"), b"{}")])
    await world.database.execute("UPDATE account SET retention_s = 60 WHERE id = $1", short_retentions)
    await short.scan(context)
    await short.remove_events(context)
    assert len(await held(subjects.PREDICTIONS)) == 2


async def test_what_is_shared_stays_until_it_is_not(context, world):
    shared = await world.prediction(shared_at=ago(minutes=1), files=["a"])
    for step in (predictions.scan, predictions.remove_deferred):
        await step(context)
    assert not await world.removed(shared)
    assert await world.keys(f"outputs/{shared}/")
    await world.database.execute("UPDATE prediction SET shared_at = NULL")
    await predictions.remove_deferred(context)
    assert await world.removed(shared)
    assert await world.keys("outputs/") == set()


async def test_what_a_deleted_prediction_left_behind_goes(context, world):
    deleted = await world.prediction(
        **times(ago(seconds=5)), deleted_at=ago(seconds=1), data_removed=True, input="{}", output=None, logs=None
    )
    await world.put(f"outputs/{deleted}/0/late.png")
    delivery = await world.delivery(deleted, "failed")
    await world.insert("removal_due_later", prediction_id=deleted)
    await predictions.remove_deferred(context)
    assert await world.keys("outputs/") == set()
    assert await world.body(delivery) is None
    assert await world.database.value("SELECT count(*) FROM removal_due_later") == 0
    assert json.loads((await world.get(deleted))["metrics"]) == {"predict_time": 1}


async def test_keys_of_creates_go_when_they_are_over(context, world):
    await world.database.execute(
        "INSERT INTO idempotency (account_id, key, id, digest, predictions, expires_at) "
        "SELECT 'a', 'k' || n, 'i', '', '{}', now() + make_interval(secs => n - 1200.5) FROM generate_series(1, 1300) n"
    )
    await predictions.expired_keys(context)
    assert await world.database.value("SELECT count(*) FROM idempotency") == 100
