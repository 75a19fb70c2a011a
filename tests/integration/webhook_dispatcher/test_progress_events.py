"""start, output and logs: coalesced, filtered, and never after the end."""

from tidemill.testing.running import until


async def leading(dispatchers, rows, receiver, **changes):
    """A dispatcher that sends progress already: standbys do not, and leading takes a moment."""
    service = await dispatchers.start(**changes)
    probe = await receiver(200)
    prediction = await rows.prediction(probe.url())

    async def told():
        await rows.event(prediction, "output")
        return probe.received

    await until("the dispatcher to lead", told)
    return service


async def test_many_outputs_are_told_as_one(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver, throttle_s=3600.0)
    hook = await receiver(200)
    prediction = await rows.prediction(hook.url())
    for _ in range(100):
        await rows.event(prediction, "output")
    await until("the first", lambda: hook.received)
    for _ in range(100):
        await rows.event(prediction, "output")
    await rows.end(prediction)
    await until("the end", lambda: len(hook.received) >= 2)
    assert [each.prediction["status"] for each in hook.received] == ["processing", "succeeded"]
    assert all(each.signed for each in hook.received)
    assert hook.received[0].id != hook.received[1].id


async def test_what_came_meanwhile_is_told_when_its_time_comes(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver, throttle_s=0.2)
    hook = await receiver(200)
    prediction = await rows.prediction(hook.url(), events=["output", "logs"])
    await rows.event(prediction, "output")
    await until("the first", lambda: hook.received)
    await rows.event(prediction, "logs")
    await until("the second", lambda: len(hook.received) == 2)


async def test_the_filter_holds_for_progress_too(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver, throttle_s=0.01)
    hook = await receiver(200)
    quiet = await rows.prediction(hook.url("quiet"), events=["completed"])
    plain = await rows.prediction(hook.url("plain"))
    start = await rows.prediction(hook.url("start"), events=["start"])
    for prediction in (quiet, plain, start):
        for event in ("start", "logs"):
            await rows.event(prediction, event)
    await until("the start", lambda: hook.received)
    await rows.event(plain, "output")
    await until("the output", lambda: len(hook.received) >= 2)
    assert {each.path for each in hook.received} == {"/start", "/plain"}


async def test_the_end_waits_for_progress_that_is_on_its_way(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver)
    hook = await receiver(200)
    hook.hang.clear()
    prediction = await rows.prediction(hook.url())
    await rows.event(prediction, "output")
    await until("the output to be under way", lambda: hook.received)
    other = await rows.prediction(hook.url("other"))
    await rows.end(prediction, other)
    await until("the other one's end", lambda: len(hook.received) >= 2)
    assert [each.prediction["status"] for each in hook.received] == ["processing", "succeeded"]
    assert hook.received[1].path == "/other"
    hook.hang.set()
    assert (await rows.finished(prediction))["status"] == "delivered"


async def test_nothing_is_told_after_the_end(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver, throttle_s=0.01)
    hook = await receiver(200)
    prediction = await rows.prediction(hook.url("ended"))
    await rows.end(prediction)
    await rows.finished(prediction)
    for event in ("start", "output", "logs"):
        await rows.event(prediction, event)
    later = await rows.prediction(hook.url("later"))
    await rows.event(later, "output")
    await until("the later one", lambda: any(each.path == "/later" for each in hook.received))
    assert [each.path for each in hook.received] == ["/ended", "/later"]


async def test_hanging_progress_takes_no_place_of_ends(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver)
    hanging, other = await receiver(200), await receiver(200)
    hanging.hang.clear()
    for n in range(50):
        prediction = await rows.prediction(hanging.url(str(n)), account="noisy")
        await rows.event(prediction, "output")
    await until("its places to be taken", lambda: len(hanging.received) == 2)
    ended = await rows.prediction(other.url(), account="quiet")
    await rows.end(ended)
    assert (await rows.finished(ended))["status"] == "delivered"
    assert len(hanging.received) == 2


async def test_two_dispatchers_tell_progress_once(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver, throttle_s=3600.0)
    await dispatchers.start(throttle_s=3600.0)
    hook = await receiver(200)
    prediction = await rows.prediction(hook.url())
    await rows.event(prediction, "output")
    await until("it", lambda: hook.received)
    await rows.end(prediction)
    await rows.finished(prediction)
    assert len(hook.received) == 2


async def test_start_is_told_first_and_once_whatever_comes_first_and_how_often(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver, throttle_s=0.05)
    hook = await receiver(200)
    prediction = await rows.prediction(hook.url(), events=["start", "output", "completed"])
    await rows.event(prediction, "output")
    await until("both", lambda: len(hook.received) == 2)
    for _ in range(3):
        await rows.event(prediction, "start")
    await rows.event(prediction, "output")
    await until("another output", lambda: len(hook.received) == 3)
    log = await rows.database.fetch(
        "SELECT event, status FROM webhook_delivery WHERE prediction_id = $1 ORDER BY id", prediction
    )
    # The second output is not logged: the same result within ten seconds.
    assert [tuple(row) for row in log] == [("start", "delivered"), ("output", "delivered")]
    await rows.end(prediction)
    await rows.finished(prediction)
    assert [each.prediction["status"] for each in hook.received] == ["processing"] * 3 + ["succeeded"]


async def test_a_prediction_that_is_over_at_once_has_a_start_all_the_same(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver)
    hook = await receiver(200)
    both = await rows.prediction(hook.url("both"), events=["start", "completed"])
    alone = await rows.prediction(hook.url("alone"), events=["start"])
    never = await rows.prediction(hook.url("never"), events=["start", "completed"], status="starting")
    await rows.database.execute("UPDATE prediction SET started_at = now() WHERE id <> $1", never)
    await rows.end(both, alone, never, announce=False)
    for prediction in (both, alone, never):
        await rows.event(prediction, "start")
        await rows.event(prediction, "completed")
        await rows.event(prediction, "start")
    await rows.finished(both)
    await rows.finished(never)
    await until("all", lambda: len(hook.received) >= 4)
    told = {}
    for each in hook.received:
        told.setdefault(each.path, []).append((each.prediction["status"], each.prediction["output"]))
    assert told == {
        "/both": [("processing", None), ("succeeded", "done")],
        "/alone": [("processing", None)],
        "/never": [("succeeded", "done")],
    }


async def test_the_end_waits_for_progress_of_another_dispatcher(dispatchers, receiver, rows):
    await leading(dispatchers, rows, receiver, look_every_s=3600.0)  # so that the other one finds the end
    await dispatchers.start()
    hook = await receiver(200)
    hook.hang.clear()
    prediction = await rows.prediction(hook.url("first"))
    await rows.event(prediction, "output")
    await until("the output to be under way", lambda: hook.received)
    other = await rows.prediction(hook.url("other"))
    await rows.end(prediction, other, announce=False)
    await until("the other one's end", lambda: len(hook.received) >= 2)
    assert [each.path for each in hook.received] == ["/first", "/other"]
    hook.hang.set()
    assert (await rows.finished(prediction))["status"] == "delivered"
    assert [each.prediction["status"] for each in hook.received] == ["processing", "succeeded", "succeeded"]
