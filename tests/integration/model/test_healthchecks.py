"""The author's healthcheck(), asked through the worker's end of a real child."""

import pytest

from tidemill.model.wire import protocol

ENTRIES = ["Told", "ToldWithAsyncCheck", "ToldAsync"]


async def asked(child) -> str | None:
    before = len(child.of("health"))
    child.process.send(protocol.CHECK)
    frames = await child.until(lambda: child.of("health")[before:])
    return frames[0]["error"]


@pytest.mark.parametrize("entry", ENTRIES)
async def test_a_model_says_how_it_is(launch, entry):
    child = await launch("proc_health", f"predict.py:{entry}")
    assert child.of("ready")[0]["healthcheck"]
    assert await asked(child) is None
    await child.predict("a", mood="ill")
    assert await asked(child) == "healthcheck() returned False"
    await child.predict("b", mood="raise")
    assert await asked(child) == "healthcheck() raised ValueError: poorly"
    await child.predict("c", mood="well")
    assert await asked(child) is None
    assert (await child.predict("d"))["output"] == "well"


async def test_a_check_before_predictions_is_answered_first_and_disturbs_none(launch):
    child = await launch("proc_health", "predict.py:Told")
    child.process.send(protocol.CHECK)
    child.run("a")
    child.run("b")
    await child.done("b")
    assert [frame["t"] for frame in child.frames if frame["t"] in {"health", "done"}] == ["health", "done", "done"]
    assert child.logs("").count("checked") == 1  # nobody's
    assert child.logs("a") == child.logs("b") == ""


async def test_a_model_without_one_is_never_asked_and_would_not_mind(launch):
    child = await launch("proc_basic")
    assert not child.of("ready")[0]["healthcheck"]
    child.process.send(protocol.CHECK)
    assert (await child.predict("a", text="on"))["output"] == "on"
