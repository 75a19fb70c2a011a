"""The end of a prediction reaches its receiver: signed, once or with the same id, whatever the receiver does."""

import asyncio
import json

from tidemill.testing.running import until


async def test_the_end_is_delivered_signed_and_looks_like_the_api(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start()
    prediction = await rows.prediction(hook.url("hook?x=1"), events=["completed"])
    await rows.end(prediction)
    row = await rows.finished(prediction)
    assert (row["status"], row["tries"], row["last_status"]) == ("delivered", 1, 200)
    (received,) = hook.received
    assert received.signed
    assert received.id == row["id"]
    assert received.body.decode() == row["body"]
    assert received.headers["Content-Type"] == "application/json"
    body = received.prediction
    assert (body["id"], body["status"], body["output"], body["input"]) == (prediction, "succeeded", "done", {"n": 1})
    assert body["urls"]["get"] == f"https://tide.example/v1/predictions/{prediction}"
    assert body["webhook_events_filter"] == ["completed"]


async def test_a_delivery_whose_announcement_was_lost_is_found(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start()
    prediction = await rows.prediction(hook.url())
    await rows.end(prediction, announce=False)
    assert (await rows.finished(prediction))["status"] == "delivered"


async def test_retries_send_the_same_bytes_under_the_same_id(dispatchers, receiver, rows):
    hook = await receiver(500, 302, 404, 200)
    await dispatchers.start()
    prediction = await rows.prediction(hook.url())
    await rows.end(prediction)
    await until("a first try", lambda: hook.received)
    # What the janitor does later changes nothing about what was promised.
    await rows.database.execute("UPDATE prediction SET output = NULL, data_removed = true WHERE id = $1", prediction)
    row = await rows.finished(prediction)
    assert (row["status"], row["tries"]) == ("delivered", 4)
    assert len({each.body for each in hook.received}) == 1
    assert {each.id for each in hook.received} == {row["id"]}
    assert all(each.signed for each in hook.received)


async def test_gone_ends_it_at_once(dispatchers, receiver, rows):
    hook = await receiver(410)
    await dispatchers.start()
    prediction = await rows.prediction(hook.url())
    await rows.end(prediction)
    row = await rows.finished(prediction)
    assert (row["status"], row["tries"], row["last_status"]) == ("failed", 1, 410)
    assert len(hook.received) == 1


async def test_a_redirect_is_not_followed(dispatchers, receiver, rows):
    elsewhere = await receiver(200)
    hook = await receiver(302, headers={"Location": elsewhere.url()})
    await dispatchers.start(retry_scale=0.00001)
    prediction = await rows.prediction(hook.url())
    await rows.end(prediction)
    row = await rows.finished(prediction)
    assert (row["status"], row["tries"]) == ("failed", 11)
    assert row["last_error"] == "status 302"
    assert not elsewhere.received


async def test_a_receiver_that_is_down_is_tried_for_the_whole_schedule(dispatchers, rows, unused_tcp_port):
    await dispatchers.start(retry_scale=0.00001)
    prediction = await rows.prediction(f"http://127.0.0.1:{unused_tcp_port}/")
    await rows.end(prediction)
    row = await rows.finished(prediction)
    assert (row["status"], row["tries"], row["last_status"]) == ("failed", 11, None)
    assert row["last_error"]


async def test_addresses_of_the_inside_are_never_posted_to(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start(egress_allow="", retry_scale=0.00001)
    prediction = await rows.prediction(hook.url())
    await rows.end(prediction)
    row = await rows.finished(prediction)
    assert row["status"] == "failed"
    assert "not allowed" in row["last_error"]
    assert not hook.received


async def test_a_receiver_that_never_answers_is_given_its_time_and_no_more(dispatchers, receiver, rows):
    hook = await receiver(200)
    hook.hang.clear()
    await dispatchers.start(timeout_s=0.2)
    prediction = await rows.prediction(hook.url())
    await rows.end(prediction)
    await until("a second try", lambda: len(hook.received) >= 2)
    hook.hang.set()
    assert (await rows.finished(prediction))["status"] == "delivered"


async def test_a_hanging_endpoint_delays_itself_only(dispatchers, receiver, rows):
    hanging, other = await receiver(200), await receiver(200)
    hanging.hang.clear()
    await dispatchers.start()
    stuck = [await rows.prediction(hanging.url(str(n)), account="noisy") for n in range(100)]
    await rows.end(*stuck)
    await until("its places to be taken", lambda: len(hanging.received) == 4)
    quiet = [await rows.prediction(other.url(str(n)), account="quiet") for n in range(20)]
    same_account = await rows.prediction(other.url("same"), account="noisy")
    await rows.end(*quiet, same_account)
    for prediction in [*quiet, same_account]:
        assert (await rows.finished(prediction))["status"] == "delivered"
    assert len(hanging.received) == 4
    assert hanging.answered == 0


async def test_an_account_with_many_hanging_endpoints_delays_itself_only(dispatchers, receiver, rows):
    hosts = [f"127.0.0.{n}" for n in range(1, 11)]
    hanging, other = await receiver(200, hosts=hosts), await receiver(200)
    hanging.hang.clear()
    await dispatchers.start(account_tries=8, tries=12)
    stuck = [await rows.prediction(hanging.url(host=host), account="noisy") for host in hosts * 3]
    await rows.end(*stuck)
    await until("its places to be taken", lambda: len(hanging.received) == 8)
    prediction = await rows.prediction(other.url(), account="quiet")
    await rows.end(prediction)
    assert (await rows.finished(prediction))["status"] == "delivered"
    assert len(hanging.received) == 8


async def test_what_a_dead_dispatcher_had_leased_is_delivered_in_the_end(dispatchers, receiver, rows, database):
    hook = await receiver(200)
    prediction = await rows.prediction(hook.url())
    await rows.end(prediction)
    await database.execute("UPDATE webhook_delivery SET leased_until = now() + interval '1 second'")
    await dispatchers.start()
    assert (await rows.finished(prediction))["status"] == "delivered"
    row = await rows.delivery(prediction)
    assert row["completed_at"] > row["created_at"]
    assert len(hook.received) == 1


async def test_two_dispatchers_share_the_work_and_send_nothing_twice(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start()
    await dispatchers.start()
    predictions = [await rows.prediction(hook.url(str(n)), account=f"account{n % 7}") for n in range(150)]
    await asyncio.gather(rows.end(*predictions[:75]), rows.end(*predictions[75:]))
    for prediction in predictions:
        assert (await rows.finished(prediction))["status"] == "delivered"
    assert len(hook.received) == 150
    assert len({each.id for each in hook.received}) == 150


async def test_a_filter_without_the_end_gets_none(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start()
    silent = await rows.prediction(hook.url(), events=["start"])
    told = await rows.prediction(hook.url())
    await rows.end(silent, told)
    await rows.finished(told)
    assert await rows.delivery(silent) is None
    assert [json.loads(each.body)["id"] for each in hook.received] == [told]
