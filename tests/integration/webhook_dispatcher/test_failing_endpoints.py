"""Endpoints that fail: left alone for a while, probed by one delivery, disabled after days or when they say so."""

import asyncio
import json

from tidemill.security import webhook_signatures
from tidemill.testing.running import until


async def endpoint(rows, path=""):
    return await rows.database.row("SELECT * FROM webhook_endpoint WHERE path = $1", path)


async def opened(rows):
    """The endpoint, once its breaker is open."""

    async def check():
        row = await endpoint(rows)
        return row if row is not None and row["open_until"] is not None else None

    return await until("the breaker to open", check)


async def ended(rows, hook, count=1, **where):
    predictions = [await rows.prediction(hook.url(str(n)), **where) for n in range(count)]
    await rows.end(*predictions)
    return predictions


async def hold_open(rows, seconds=3600):
    await rows.database.execute(
        "UPDATE webhook_endpoint SET open_until = now() + make_interval(secs => $1) WHERE open_until IS NOT NULL",
        float(seconds),
    )


async def quiet(rows):
    """Returns once no dispatcher is about to send: what was leased before the breaker opened is still tried."""

    async def check():
        sql = """SELECT count(*) FROM webhook_delivery
            WHERE status = 'pending' AND (leased_until IS NOT NULL OR next_attempt_at <= now())"""
        return await rows.database.value(sql) == 0

    await until("tries under way to end, and the rest to be put off", check)


async def test_a_line_at_a_broken_endpoint_waits_for_one_probe_and_is_then_delivered(dispatchers, receiver, rows):
    hook = await receiver(500)
    await dispatchers.start(retry_scale=1.0, endpoint_tries=1)
    predictions = await ended(rows, hook, 40)
    row = await opened(rows)
    assert row["failures"] == row["openings"] + 4 == 5
    await hold_open(rows)
    assert len(hook.received) == 5
    later = await ended(rows, hook, 5)

    async def parked():
        sql = "SELECT count(*) FROM webhook_delivery WHERE status = 'pending' AND next_attempt_at > now()"
        return await rows.database.value(sql) == 45

    await until("all to be put off", parked)
    assert len(hook.received) == 5
    hook.statuses = [200]
    await rows.database.execute("UPDATE webhook_endpoint SET open_until = now()")
    await rows.database.execute("UPDATE webhook_delivery SET next_attempt_at = now()")
    for prediction in [*predictions, *later]:
        assert (await rows.finished(prediction))["status"] == "delivered"
    row = await endpoint(rows)
    assert (row["failures"], row["open_until"], row["failing_since"]) == (0, None, None)
    assert len(hook.received) == 50


async def test_two_dispatchers_send_one_probe(dispatchers, receiver, rows):
    hook = await receiver(500)
    await dispatchers.start(retry_scale=1.0)
    await dispatchers.start(retry_scale=1.0)
    predictions = await ended(rows, hook, 20)
    await opened(rows)
    await hold_open(rows)
    await quiet(rows)
    before = len(hook.received)
    hook.hang.clear()
    hook.statuses = [200]
    await rows.database.execute("UPDATE webhook_delivery SET next_attempt_at = now() WHERE status = 'pending'")
    await rows.database.execute("UPDATE webhook_endpoint SET open_until = now()")
    await until("the probe", lambda: len(hook.received) > before)
    other = await receiver(200)
    (probe_of_time,) = await ended(rows, other, account="b")
    await rows.finished(probe_of_time)  # both have looked for work by now
    assert len(hook.received) == before + 1
    hook.hang.set()
    for prediction in predictions:
        assert (await rows.finished(prediction))["status"] == "delivered"


async def test_another_accounts_deliveries_to_the_same_host_go_on(dispatchers, receiver, rows):
    hook = await receiver(*[500] * 5, 200)
    await dispatchers.start(retry_scale=1.0, endpoint_tries=1)
    await ended(rows, hook, 5, account="broken")
    await opened(rows)
    await hold_open(rows)
    (prediction,) = await ended(rows, hook, account="fine")
    assert (await rows.finished(prediction))["status"] == "delivered"


async def test_gone_disables_the_path_and_no_other(dispatchers, receiver, rows):
    hook = await receiver(410, 200)
    await dispatchers.start()
    (gone,) = await ended(rows, hook)
    assert (await rows.finished(gone))["status"] == "failed"
    again = await rows.prediction(f"{hook.url('0')}?other=query")
    elsewhere = await rows.prediction(hook.url("1"))
    await rows.end(again, elsewhere)
    row = await rows.finished(again)
    assert (row["status"], row["tries"]) == ("skipped", 0)
    assert row["last_error"] == "the endpoint is disabled: it answered 410 Gone"
    assert (await rows.finished(elsewhere))["status"] == "delivered"
    assert (await endpoint(rows, "/0"))["disabled_at"] is not None
    assert [each.path for each in hook.received] == ["/0", "/1"]


async def test_failing_for_long_disables_the_host_and_what_waits_is_skipped(dispatchers, receiver, rows):
    hook = await receiver(500)
    await dispatchers.start(disable_after_s=0.5)
    predictions = await ended(rows, hook, 3)
    for prediction in predictions:
        row = await rows.finished(prediction)
        assert row["status"] == "skipped"
        assert "every try has failed" in row["last_error"]
    assert (await endpoint(rows))["disabled_at"] is not None
    seen = len(hook.received)
    (later,) = await ended(rows, hook)
    assert (await rows.finished(later))["status"] == "skipped"
    assert len(hook.received) == seen


async def test_progress_does_not_knock_at_a_closed_door(dispatchers, receiver, rows):
    hook = await receiver(410, 200)
    await dispatchers.start()
    (gone,) = await ended(rows, hook)
    await rows.finished(gone)
    quiet, loud = await rows.prediction(hook.url("0")), await rows.prediction(hook.url("1"))

    async def told():
        await rows.event(quiet, "output")
        await rows.event(loud, "output")
        return len(hook.received) > 1

    await until("the other path's progress", told)
    assert {each.path for each in hook.received[1:]} == {"/1"}


async def test_every_try_is_written_down(dispatchers, receiver, rows):
    hook = await receiver(500, 200)
    await dispatchers.start()
    (prediction,) = await ended(rows, hook)
    row = await rows.finished(prediction)
    first, second = json.loads(row["log"])
    assert (first["status"], first["error"], first["response"]) == (500, "status 500", "answer to /0")
    assert (second["status"], second["error"]) == (200, None)
    assert first["at"] < second["at"]
    assert second["duration_s"] >= 0
    assert row["body"] == hook.received[0].body.decode()


async def test_what_was_said_of_removed_data_is_not_kept(dispatchers, receiver, rows):
    hook = await receiver(200)
    hook.hang.clear()
    await dispatchers.start()
    (prediction,) = await ended(rows, hook)
    await until("the try", lambda: hook.received)
    await rows.database.execute("UPDATE prediction SET output = NULL, data_removed = true WHERE id = $1", prediction)
    hook.hang.set()
    row = await rows.finished(prediction)
    assert row["status"] == "delivered"
    assert row["body"] is None
    assert "response" not in json.loads(row["log"])[0]


async def test_old_secrets_sign_beside_the_new_one_for_their_time(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start()
    await rows.account("a")
    old, older = webhook_signatures.new_secret(), webhook_signatures.new_secret()
    await rows.database.execute(
        "INSERT INTO webhook_secret_before VALUES ('a', $1, now() + interval '1 hour'), ('a', $2, now())", old, older
    )
    (prediction,) = await ended(rows, hook)
    await rows.finished(prediction)
    (received,) = hook.received
    first, second = received.headers["webhook-signature"].split(" ")
    timestamp = int(received.headers["webhook-timestamp"])
    assert second == webhook_signatures.sign([old], received.id, timestamp, received.body)
    assert first not in {second, webhook_signatures.sign([older], received.id, timestamp, received.body)}


async def test_one_more_try_on_request_under_the_same_id(dispatchers, receiver, rows):
    hook = await receiver(200, 500)
    await dispatchers.start()
    (prediction,) = await ended(rows, hook)
    row = await rows.finished(prediction)
    for expected in ("failed", "failed"):
        await rows.database.execute(
            "UPDATE webhook_delivery SET status = 'pending', redelivery = true, next_attempt_at = now()"
        )
        assert (await rows.finished(prediction))["status"] == expected
    assert {each.id for each in hook.received} == {row["id"]}
    assert len({each.body for each in hook.received}) == 1
    assert (await rows.delivery(prediction))["tries"] == 3


async def test_a_request_goes_through_an_open_breaker_and_closes_it(dispatchers, receiver, rows):
    hook = await receiver(500)
    await dispatchers.start(retry_scale=1.0, endpoint_tries=1)
    predictions = await ended(rows, hook, 5)
    await opened(rows)
    await hold_open(rows)
    hook.statuses = [200]
    await rows.database.execute(
        "UPDATE webhook_delivery SET redelivery = true, next_attempt_at = now() WHERE prediction_id = $1",
        predictions[0],
    )
    assert (await rows.finished(predictions[0]))["status"] == "delivered"

    async def closed():
        return (await endpoint(rows))["open_until"] is None

    await until("the breaker to close", closed)


async def test_finished_deliveries_are_forgotten_in_time(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start(log_kept_s=0.0, upkeep_every_s=0.05)
    (prediction,) = await ended(rows, hook)

    async def gone():
        return hook.received and await rows.delivery(prediction) is None

    await until("the delivery to be forgotten", gone)


async def test_tries_at_once_agree_on_the_endpoints_row(dispatchers, receiver, rows):
    hook = await receiver(200)
    await dispatchers.start()
    await dispatchers.start()
    groups = await asyncio.gather(*(ended(rows, hook, 10) for _ in range(4)))
    for prediction in [each for group in groups for each in group]:
        assert (await rows.finished(prediction))["status"] == "delivered"
    assert await rows.database.value("SELECT count(*) FROM webhook_endpoint") == 1
