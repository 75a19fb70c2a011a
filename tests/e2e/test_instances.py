"""The life of an instance as users see it: its directory, its limits, its progress, its health, and how it ended."""

from pathlib import Path

import pytest

from tidemill.testing.running import until

MODEL = "local/e2e_instance"
HOARDER = "local/hoard"
MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture
async def api(stack):
    async with stack.session() as session:

        async def call(method, path, **arguments):
            async with session.request(method, path, **arguments) as response:
                assert response.status < 300, await response.text()
                return await response.json()

        yield call


@pytest.fixture
def predict(api):
    async def one(model=MODEL, *, wait=True, **values):
        headers = {"Prefer": "wait=60"} if wait else {}
        found = await api("POST", f"/v1/models/{model}/predictions", json={"input": values}, headers=headers)
        if wait and found["status"] in {"starting", "processing"}:
            return await of(found["id"])
        return found

    async def now(identifier):
        return await api("GET", f"/v1/predictions/{identifier}")

    async def ended(identifier):
        found = await now(identifier)
        return None if found["status"] in {"starting", "processing"} else found

    async def of(identifier):
        return await until("it ends", lambda: ended(identifier), within_s=120)

    one.now, one.of = now, of
    return one


async def boots(api, model):
    version = (await api("GET", f"/v1/models/{model}"))["latest_version"]["id"]
    return await api("GET", f"/v1/models/{model}/versions/{version}/boots")


async def test_a_model_writes_beside_its_own_code_and_changes_it(predict):
    for text in ("one", "two"):
        found = await predict(do="write", text=text)
        assert (found["status"], found["error"]) == ("succeeded", None)


async def test_a_progress_bar_is_a_metric_while_the_prediction_runs(api, predict):
    running = await predict(do="bar", wait=False)

    async def progress():
        return (await api("GET", f"/v1/predictions/{running['id']}")).get("metrics", {}).get("progress")

    assert 0 < await until("the bar has moved", progress) <= 0.9
    await api("POST", f"/v1/predictions/{running['id']}/cancel")


async def test_an_allocation_that_fails_is_out_of_memory_and_costs_no_instance(api, predict):
    found = await predict(do="allocate")
    assert (found["status"], found["error_code"]) == ("failed", "out_of_memory")
    assert found["error"].startswith("the model ran out of memory")
    assert (await predict(text="on"))["status"] == "succeeded"


async def test_a_crash_is_told_with_its_prediction_and_with_the_instance(api, predict):
    found = await predict(do="crash")
    assert (found["status"], found["error_code"]) == ("failed", "model_crashed")
    assert found["error"] == "The model's process ended: signal 11."
    assert "last words" in found["logs"]

    async def recorded():
        return [boot for boot in await boots(api, MODEL) if boot["error"]]

    crashed = await until("the boots say so", recorded)
    assert {boot["error"] for boot in crashed} == {"The model's process ended: signal 11."}
    assert crashed[0]["logs"] == "loading\n"
    assert crashed[0]["phases"]["total"] > 0


@pytest.mark.parametrize(
    ("do", "error"),
    [
        ("stop", "The model's process stopped itself (SIGSTOP) and did not go on."),
        ("close", "The model's process ended: it closed its connection to the worker."),
    ],
)
async def test_a_process_that_makes_itself_unreachable_is_told_so_and_the_next_prediction_runs(predict, do, error):
    first, after = await predict(do=do, wait=False), await predict(text="behind it")
    assert (after["status"], after["error"]) == ("succeeded", None)
    found = await predict.of(first["id"])
    assert (found["status"], found["error_code"], found["error"]) == ("failed", "model_crashed", error)


async def test_a_model_that_floods_the_worker_is_ended_and_anothers_predictions_run_beside_it(predict):
    flooding = await predict(do="flood", wait=False)
    served = 0
    while (await predict.now(flooding["id"]))["status"] in {"starting", "processing"}:
        assert (await predict("local/e2e_text", text="beside"))["output"] == "[beside]"
        served += 1
    found = await predict.now(flooding["id"])
    assert (found["status"], found["error_code"]) == ("failed", "model_flooded"), found["error"]
    assert served > 10


async def test_a_traceback_shows_the_models_own_files_and_no_path_of_the_operators(stack, predict):
    found = await predict(do="raise_", text="no such thing")
    assert (found["status"], found["error"]) == ("failed", "no such thing")
    assert '  File "predict.py", line ' in found["logs"]
    assert str(stack.home) not in found["logs"]


async def test_a_set_up_that_fails_says_why_with_its_log(api, predict):
    found = await predict("local/e2e_no_setup", text="x")
    assert (found["status"], found["error_code"]) == ("failed", "boot_failed")
    assert "there are no weights" in found["error"]
    assert "looking for weights" in found["error"]
    failed = (await boots(api, "local/e2e_no_setup"))[0]
    assert failed["ready_at"] is None
    assert "there are no weights" in failed["error"]
    assert failed["logs"].startswith("looking for weights\n")
    assert "FileNotFoundError" in failed["logs"]


async def test_an_instance_that_is_not_well_is_replaced(predict):
    first = (await predict(do="pid"))["logs"]
    assert (await predict(do="sicken"))["status"] == "succeeded"

    async def another():
        found = await predict(do="pid")
        return found["status"] == "succeeded" and found["logs"] != first

    await until("another instance answers", another, within_s=300)


@pytest.fixture(scope="module")
def hoarder(stack):
    stack.tidemill("push", "--public", HOARDER, str(MODELS / "hoard"), "--hardware", "cpu-small")
    return HOARDER


@pytest.mark.parametrize("do", ["orphans", "memfd", "shared_memory"])
async def test_memory_that_hides_ends_its_instance_and_no_other(api, predict, hoarder, do):
    beside = (await predict(do="pid"))["logs"]
    found = await predict(hoarder, do=do)
    assert (found["status"], found["error_code"]) == ("failed", "out_of_memory")
    assert found["error"].endswith("its hardware gives it 2 GiB.")
    assert (await predict(do="pid"))["logs"] == beside


async def all_run(api, predictions):
    now = [await api("GET", f"/v1/predictions/{each['id']}") for each in predictions]
    return all(each["status"] == "processing" for each in now)


async def test_slow_predictions_run_side_by_side_while_places_are_free(api, predict):
    """One instance of a model that takes one prediction at a time, and two that end only when they are canceled."""
    slow = [await predict("local/e2e_sleep", seconds=3600, wait=False) for _ in range(2)]
    try:
        await until("both run", lambda: all_run(api, slow), within_s=300)
    finally:
        for each in slow:
            await api("POST", f"/v1/predictions/{each['id']}/cancel")
