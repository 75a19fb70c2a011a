"""Predictions of asynchronous models in real children: concurrency, streaming, cancel, attribution."""

import pytest


async def test_setup_and_predict_share_the_loop(launch):
    child = await launch("proc_async")
    assert child.of("ready")[0]["concurrency"] == 4
    assert child.logs(None) == "set up\n"
    assert (await child.predict("x", do="same_loop"))["output"] is True


async def test_as_many_run_together_as_the_model_allows(launch):
    child = await launch("proc_async")
    for number in range(8):
        child.run(str(number), do="together", text=str(number), seconds=0.05)
    most = [(await child.done(str(number)))["output"] for number in range(8)]
    assert max(most) == 4
    assert [child.logs(str(number)) for number in range(8)] == [f"begin {n}\nend {n}\n" for n in range(8)]


async def test_the_worker_may_set_the_concurrency(launch):
    child = await launch("proc_async", concurrency=2)
    assert child.of("ready")[0]["concurrency"] == 2
    for number in range(4):
        child.run(str(number), do="together", seconds=0.02)
    assert max([(await child.done(str(number)))["output"] for number in range(4)]) == 2


async def test_tokens_stream_one_by_one(launch):
    child = await launch("proc_async", "predict.py:Tokens")
    child.run("x", count=3, seconds=0.2)
    await child.until(lambda: child.of("output", "x"))
    assert child.of("done") == []
    done = await child.done("x")
    assert (done["status"], done["output"]) == ("succeeded", [])
    assert [frame["value"] for frame in child.of("output")] == ["0 ", "1 ", "2 "]
    times = [frame["at"] for frame in child.of("output")]
    assert times == sorted(set(times))


async def test_a_stream_that_fails_or_is_canceled_is_closed(launch):
    child = await launch("proc_async", "predict.py:Tokens")
    done = await child.predict("x", count=3, fail_at=1)
    assert (done["status"], done["error"]) == ("failed", "no more")
    child.run("y", count=10**6, seconds=0.001)
    await child.until(lambda: child.of("output", "y"))
    child.process.cancel("y")
    assert (await child.done("y"))["status"] == "canceled"
    assert child.logs("y") == "closed\n"


@pytest.mark.parametrize("do", ["together", "swallow"])
async def test_one_is_canceled_and_the_others_are_not(launch, do):
    child = await launch("proc_async")
    child.run("x", do=do, seconds=600.0)
    child.run("y", do="together", seconds=0.2)
    child.process.cancel("x")
    assert (await child.done("x"))["status"] == "canceled"
    assert (await child.done("y"))["status"] == "succeeded"


async def test_a_queued_prediction_is_given_back_at_once(launch):
    child = await launch("proc_async")
    for number in range(5):
        child.run(str(number), do="together", seconds=600.0)
    await child.until(lambda: all(child.logs(str(number)) for number in range(4)))
    child.process.cancel("4")
    assert (await child.done("4"))["status"] == "canceled"
    assert len(child.of("done")) == 1


@pytest.mark.parametrize(
    ("do", "error"), [("fail", "boom"), ("leave", "the model called sys.exit(4)"), ("cancel_itself", "CancelledError")]
)
async def test_a_failure_is_one_predictions_own(launch, do, error):
    child = await launch("proc_async")
    done = await child.predict("x", do=do, text="boom")
    assert (done["status"], done["error"]) == ("failed", error)
    assert (await child.predict("y", text="well"))["output"] == "well"


async def test_threads_and_metrics_are_attributed(launch):
    child = await launch("proc_async")
    child.run("x", do="threaded", text="from a thread")
    await child.done("x")
    assert child.logs("x") == "from a thread\n" * 2
    for name in ("a", "b"):
        child.run(name, do="metric", text="3", context={"who": name})
    assert [(await child.done(name))["output"] for name in ("a", "b")] == ["a", "b"]
    assert sorted(metric["id"] for metric in child.of("metric")) == ["a", "b"]


async def test_stop_lets_what_runs_end(launch):
    child = await launch("proc_async")
    child.run("x", do="together", seconds=0.2)
    await child.started("x")
    child.process.stop()
    assert (await child.exit()).code == 0
    assert child.of("done", "x")[0]["status"] == "succeeded"
