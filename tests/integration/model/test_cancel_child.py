"""Cancels against real children: prompt, only what they name, each prediction answered exactly once."""

import asyncio
import random

import pytest


@pytest.mark.parametrize("do", ["sleep", "spin", "swallow"])
async def test_a_running_prediction_is_canceled(launch, do):
    child = await launch("proc_basic")
    child.run("before")
    await child.done("before")
    child.run("x", do="bar", seconds=600.0)
    await child.started("x")
    child.process.cancel("x")
    assert (await child.done("x"))["status"] == "canceled"
    child.run("y", do=do, seconds=600.0)
    child.process.cancel("y")
    done = await child.done("y")
    assert (done["status"], done["output"], done["error"]) == ("canceled", None, None)
    assert (await child.predict("z", text="well"))["output"] == "well"


async def test_a_queued_prediction_is_given_back_while_another_runs(launch):
    child = await launch("proc_basic")
    child.run("x", do="bar", seconds=600.0)
    for name in ("a", "b", "c"):
        child.run(name, text=name)
    await child.started("x")
    child.process.cancel("b")
    assert (await child.done("b"))["status"] == "canceled"
    assert child.of("done", "x") == []
    child.process.cancel("x")
    assert (await child.done("c"))["output"] == "c"
    assert [done["id"] for done in child.of("done")] == ["b", "x", "a", "c"]


async def test_unknown_and_finished_ids_are_ignored(launch):
    child = await launch("proc_basic")
    await child.predict("x")
    for name in ("x", "nobody", "x"):
        child.process.cancel(name)
    assert (await child.predict("y", do="sleep", seconds=0.05))["status"] == "succeeded"
    assert len(child.of("done")) == 2


async def test_a_model_that_will_not_stop_is_killed(launch):
    child = await launch("proc_basic")
    child.run("x", do="stubborn", seconds=600.0)
    child.process.cancel("x")
    await asyncio.sleep(0)
    child.process.kill()
    assert (await child.exit()).signal == 9


async def test_a_cancel_before_the_child_listens(launch):
    child = await launch.start("proc_basic")
    child.process.cancel("x")
    child.process.cancel("nobody")
    ready = await child.booted()
    assert ready["t"] == "ready"
    child.run("x", do="sleep", seconds=600.0)
    assert (await child.done("x"))["status"] == "canceled"


async def test_a_stream_is_canceled_between_its_items(launch):
    child = await launch("proc_broken", "predict.py:Streams")
    child.run("x", count=10**9)
    await child.until(lambda: len(child.of("output", "x")) > 10)
    child.process.cancel("x")
    assert (await child.done("x"))["status"] == "canceled"
    assert child.logs("x") == "closed\n"
    values = [frame["value"] for frame in child.of("output", "x")]
    assert values == [f"{number} " for number in range(len(values))]
    assert (await child.predict("y", count=1))["status"] == "succeeded"


UNASKED = "the model raised CancelationException, but nobody had canceled the prediction"


@pytest.mark.parametrize(
    ("model", "entry", "given", "error"),
    [
        ("proc_basic", "predict.py:Predictor", {"do": "cancel_itself"}, UNASKED),
        ("proc_basic", "predict.py:Predictor", {"do": "cancel_itself", "text": "no cat in it"}, "no cat in it"),
        ("proc_async", "predict.py:Predictor", {"do": "cancel_as_sync_code", "text": "no cat"}, "no cat"),
        ("proc_broken", "predict.py:Streams", {"cancel_at": 1}, UNASKED),
        ("proc_async", "predict.py:Tokens", {"cancel_at": 1}, UNASKED),
    ],
)
async def test_a_model_that_raises_a_cancel_by_itself_has_failed(launch, model, entry, given, error):
    child = await launch(model, entry)
    done = await child.predict("x", **given)
    assert (done["status"], done["error"]) == ("failed", error)
    assert "CancelationException" in child.logs("x")
    assert [frame["value"] for frame in child.of("output", "x")] == (["0 "] if "cancel_at" in given else [])
    again = {"text": "well"} if "do" in given else {"count": 1}
    assert (await child.predict("y", **again))["status"] == "succeeded"


@pytest.mark.parametrize(("model", "count"), [("proc_basic", 3000), ("proc_async", 3000)])
async def test_many_quick_predictions_with_random_cancels_are_each_answered_once(launch, model, count):
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    child = await launch(model)
    names = [f"p{number}" for number in range(count)]
    for start in range(0, count, 20):
        batch = names[start : start + 20]
        for name in batch:
            child.run(name, do=chance.choice(["echo", "echo", "metric"]), text="7", context={"who": "w"})
            if chance.random() < 0.4:
                child.process.cancel(chance.choice(names[max(0, start - 5) : start + 20]))
        if chance.random() < 0.5:
            await child.done(chance.choice(batch))
        else:
            await asyncio.sleep(0)
    for name in names:
        await child.done(name)
    answers = child.of("done")
    assert len(answers) == count, seed
    assert {answer["id"] for answer in answers} == set(names)
    assert {answer["status"] for answer in answers} <= {"succeeded", "canceled"}, seed
    assert all(answer["output"] in ("7", "w") for answer in answers if answer["status"] == "succeeded")
    assert child.ended is None


async def test_cancels_that_land_on_prints_never_tear_a_frame(launch):
    chatter = "while True:\n    print('x' * 3000)"
    child = await launch("proc_basic")
    for number in range(30):
        child.run(str(number), do="probe", text=chatter)
        await child.started(str(number))
        child.process.cancel(str(number))
        assert (await child.done(str(number)))["status"] == "canceled"
    assert child.process.poisoned is None
