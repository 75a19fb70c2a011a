"""Models under `@cog.batch` in real children: one call for many predictions, each with its own end."""

import asyncio
import json
import random

import pytest


def send(child, predictions):
    """All in one write, so that they are at hand together."""
    for prediction, values in predictions.items():
        child.run(prediction, **values)


async def outputs(child, names):
    return {name: (await child.done(name))["output"] for name in names}


@pytest.fixture
async def child(launch):
    return await launch("proc_batch")


async def test_it_says_at_boot_how_many_it_takes(child):
    ready = child.of("ready")[0]
    assert (ready["concurrency"], ready["batch"]) == (8, True)


async def test_predictions_share_a_call_and_each_gets_its_own_output(child):
    names = [f"p{number}" for number in range(8)]
    send(child, {name: {"text": name.upper()} for name in names})
    assert await outputs(child, names) == {name: name.upper() for name in names}
    assert child.of("running") == [{**child.of("running")[0], "ids": names}]
    done = [child.of("done", name)[0] for name in names]
    assert {frame["batch"] for frame in done} == {8}
    assert all(frame["ms"] > 0 for frame in done)


async def test_more_than_a_call_takes_wait_for_the_next(child):
    names = [f"p{number}" for number in range(20)]
    send(child, {name: {"text": name} for name in names})
    assert await outputs(child, names) == {name: name for name in names}
    sizes = [len(frame["ids"]) for frame in child.of("running")]
    assert sizes == [8, 8, 4]


async def test_one_alone_is_answered_too(child):
    done = await child.predict("x", text="lonely")
    assert (done["output"], done["batch"]) == ("lonely", 1)


async def test_what_is_at_hand_goes_without_waiting(launch):
    child = await launch("proc_batch", "predict.py:at_hand")
    assert (await child.predict("x", text="a"))["output"] == "a of 1"
    names = [f"p{number}" for number in range(64)]
    send(child, {name: {"text": name} for name in names})
    found = await outputs(child, names)
    assert [text.split()[0] for text in found.values()] == names


async def test_only_predictions_that_agree_on_the_unbatched_inputs_share_a_call(child):
    send(child, {f"p{number}": {"text": str(number), "mode": "ab"[number % 2]} for number in range(8)})
    await outputs(child, [f"p{number}" for number in range(8)])
    calls = [frame["ids"] for frame in child.of("running")]
    assert calls == [["p0", "p2", "p4", "p6"], ["p1", "p3", "p5", "p7"]]


async def test_a_default_spelled_out_is_the_same_as_none(child):
    send(child, {"x": {"mode": "one"}, "y": {}, "z": {"mode": None}})
    await outputs(child, "xyz")
    assert [frame["ids"] for frame in child.of("running")] == [["x", "y", "z"]]


async def test_an_exception_in_the_place_of_an_output_fails_that_prediction(child):
    send(child, {"x": {"do": "fail", "text": "me"}, "y": {"text": "fine"}, "z": {"do": "nan"}})
    failed, fine, odd = [await child.done(name) for name in "xyz"]
    assert (failed["status"], failed["error"]) == ("failed", "not me")
    assert (fine["status"], fine["output"]) == ("succeeded", "fine")
    assert odd["status"] == "failed"
    assert "NaN" in odd["error"]
    assert child.logs("x") == "ValueError: not me\n"
    assert child.logs("y") == ""


async def test_an_input_that_does_not_fit_fails_that_prediction(child):
    send(child, {"x": {"seconds": -1}, "y": {"text": "fine"}})
    failed, fine = [await child.done(name) for name in "xy"]
    assert failed["error"].startswith("seconds: ")
    assert (fine["output"], fine["batch"]) == ("fine", 1)


async def test_of_a_call_that_raises_only_those_fail_that_raise_alone(child):
    names = [f"p{number}" for number in range(8)]
    send(child, {name: {"do": "raise" if name == "p5" else "echo", "text": name} for name in names})
    ended = {name: await child.done(name) for name in names}
    assert [name for name, done in ended.items() if done["status"] == "failed"] == ["p5"]
    assert ended["p5"]["error"] == "this call cannot be computed"
    assert ended["p0"]["batch"] == 4
    calls = [frame["ids"] for frame in child.of("running")]
    assert calls == [names, names[:4], names[4:], names[4:6], names[4:5], names[5:6], names[6:]]
    told = "A call for 8 predictions failed; trying halves of it. (this call cannot be computed)\n"
    assert all(told in child.logs(name) for name in names)
    shown = [name for name in names if "RuntimeError: this call cannot be computed\n" in child.logs(name)]
    assert shown == ["p5"]


async def test_too_few_outputs_fail_the_call(child):
    send(child, {"x": {"do": "short"}, "y": {}})
    for name in "xy":
        done = await child.done(name)
        assert (done["status"], done["error"]) == (
            "failed",
            "the model was called for 2 predictions and returned 0 outputs",
        )
    assert len(child.of("running")) == 1


async def test_one_that_is_sent_alone_shares_no_call(child):
    child.run("x", text="1")
    child.process.send(json.dumps({"t": "run", "id": "y", "input": {"text": "2"}, "alone": True}).encode())
    child.run("z", text="3")
    await outputs(child, "xyz")
    assert [frame["ids"] for frame in child.of("running")] == [["x", "z"], ["y"]]


async def test_a_canceled_one_is_answered_at_once_and_the_others_go_on(child):
    send(child, {"x": {"do": "say", "seconds": 1.0, "text": "x"}, "y": {"text": "y"}, "z": {"text": "z"}})
    await child.until(lambda: child.of("running"))
    child.process.cancel("y")
    assert (await child.done("y"))["status"] == "canceled"
    assert not child.of("done", "x")
    assert await outputs(child, "xz") == {"x": "x", "z": "z"}
    assert len(child.of("done")) == 3


async def test_when_all_are_canceled_the_call_is_interrupted(child):
    send(child, {"x": {"do": "say", "seconds": 60.0}, "y": {}})
    await child.started("x")
    child.process.cancel("x")
    child.process.cancel("y")
    assert {(await child.done(name))["status"] for name in "xy"} == {"canceled"}
    assert (await child.predict("z", text="next"))["output"] == "next"


async def test_what_waits_for_the_next_call_is_given_back(child):
    send(child, {f"p{number}": {"seconds": 60.0, "do": "say"} for number in range(8)})
    send(child, {"x": {}, "y": {"text": "y"}})
    await child.started("p0")
    child.process.cancel("x")
    assert (await child.done("x"))["status"] == "canceled"
    for number in range(8):
        child.process.cancel(f"p{number}")
    assert (await child.done("y"))["output"] == "y"


async def test_logs_of_a_call_are_those_of_all_its_predictions_and_come_before_its_first_end(child):
    send(child, {"x": {"do": "say"}, "y": {"do": "say_c"}})
    await outputs(child, "xy")
    assert [child.logs(name) for name in "xy"] == ["2 of mode one\n"] * 2
    assert child.pipe_at_done["x"] == b"from C\n"
    kinds = [frame["t"] for frame in child.frames]
    assert kinds.index("running") < kinds.index("log") < kinds.index("done")


async def test_files_belong_to_their_prediction(child):
    send(child, {"x": {"do": "file", "text": "of x"}, "y": {"do": "file", "text": "of y"}, "z": {"text": "z"}})
    await outputs(child, "xyz")
    assert child.files == {"x": [b"of x"], "y": [b"of y"]}


async def test_metrics_count_for_each_and_scopes_are_apart(child):
    child.run("x", do="who", context={"who": "me"})
    child.run("y", do="metric", text="four")
    assert await outputs(child, "xy") == {"x": "me", "y": "four"}
    metrics = [(frame["id"], frame["key"], frame["value"]) for frame in child.of("metric")]
    assert metrics == [("x", "width", 2), ("y", "width", 2), ("y", "length", 4)]


async def test_a_child_that_stops_finishes_its_call(child):
    send(child, {"x": {"do": "say", "seconds": 0.3, "text": "x"}, "y": {"text": "y"}})
    await child.started("x")
    child.process.stop()
    assert (await child.exit()).code == 0
    assert {done["id"]: done["output"] for done in child.of("done")} == {"x": "x", "y": "y"}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_each_prediction_ends_once_and_as_it_should(child, seed):
    chance = random.Random(seed)
    kinds = ["echo", "echo", "echo", "fail", "nan", "raise", "say", "file", "metric"]
    wanted = {f"p{number}": chance.choice(kinds) for number in range(300)}
    canceled = set()
    for name, kind in wanted.items():
        child.run(name, do=kind, text=name, mode=chance.choice("ab"), seconds=chance.choice([0, 0, 0.002]))
        if chance.random() < 0.2:
            victim = chance.choice(list(wanted))
            canceled.add(victim)
            child.process.cancel(victim)
        if chance.random() < 0.1:
            await asyncio.sleep(0)
    for name in wanted:
        await child.done(name)
    assert len(child.of("done")) == len(wanted)
    for name, kind in wanted.items():
        done = child.of("done", name)[0]
        expected = "failed" if kind in {"fail", "nan", "raise"} else "succeeded"
        assert done["status"] == expected or (name in canceled and done["status"] == "canceled"), (name, done)
        if done["status"] == "succeeded":
            assert done["output"] == (None if kind == "file" else name)
    assert (await child.predict("last", text="still here"))["output"] == "still here"


async def test_unknown_inputs_are_named_once_in_the_logs_of_their_own_prediction(child):
    send(child, {"a": {"text": "a", "stray": 1}, "b": {"do": "raise"}, "c": {"text": "c"}})
    assert await outputs(child, ["a", "c"]) == {"a": "a", "c": "c"}
    await child.done("b")
    told = [frame["id"] for frame in child.of("log") if "no inputs called 'stray'" in frame["text"]]
    assert told == ["a"]
