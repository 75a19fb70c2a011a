"""What a waiting and an ended prediction tells, and priorities, on a running system."""

import asyncio

import pytest

from tidemill.contracts.hardware import HARDWARE
from tidemill.testing.running import until

PREDICT = """import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("ready in a moment")
        time.sleep({setup})

    def predict(self, text: str) -> str:
        time.sleep({seconds})
        return text
"""


@pytest.fixture
async def call(stack):
    async with stack.session() as session:

        async def ask(method, path, body=None, **headers):
            async with session.request(method, f"/v1{path}", json=body, headers=headers) as response:
                answer = await response.json() if response.status != 204 else None
                assert response.status < 300, answer
                return answer

        yield ask


@pytest.fixture
def push(stack, tmp_path):
    async def make(name, *, setup=0.0, seconds=0.0):
        (tmp_path / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
        (tmp_path / "predict.py").write_text(PREDICT.format(setup=setup, seconds=seconds))
        await asyncio.to_thread(stack.tidemill, "push", "--public", name, str(tmp_path))
        return name

    return make


async def test_a_cold_prediction_tells_what_it_waits_for_and_then_what_it_waited_for(call, push):
    model = await push("local/e2e-cold", setup=2, seconds=0.1)
    made = await call("POST", "/predictions", {"version": model, "input": {"text": "x"}})
    seen = []

    async def boots():
        seen.append(await call("GET", f"/predictions/{made['id']}"))
        return seen[-1].get("waiting_for") == "instance_boot" and seen[-1].get("queue_position") == 1

    await until("the boot to be told", boots)

    async def ended():
        seen.append(await call("GET", f"/predictions/{made['id']}"))
        return seen[-1]["status"] == "succeeded"

    await until("the end", ended)
    cold = seen[-1]
    assert cold["boot"]["setup"] >= 2
    assert cold["boot"]["total"] >= cold["boot"]["setup"]
    assert not {"waiting_for", "queue_position"} & set(cold)
    metrics, price = cold["metrics"], HARDWARE["cpu"].price_usd_per_s
    assert metrics["cost"] == pytest.approx(metrics["predict_time"] * price, abs=1e-8)

    warm = await call("POST", "/predictions", {"version": model, "input": {"text": "y"}}, Prefer="wait")
    assert (warm["output"], "boot" in warm, warm["metrics"]["hardware"]) == ("y", False, "cpu")


async def test_an_urgent_prediction_overtakes_its_accounts_earlier_ones(call, push):
    model = await push("local/e2e-line", seconds=0.5)
    version = (await call("GET", f"/models/{model}"))["latest_version"]["id"]
    release = {"version": version, "hardware": "cpu", "min_instances": 1, "max_instances": 1}
    await call("POST", "/deployments", {"name": "e2e-line", "model": model, **release})
    path = "/deployments/local/e2e-line/predictions"
    await call("POST", path, {"input": {"text": "warm"}}, Prefer="wait")
    names = [(f"plain {number}", 0) for number in range(5)] + [("urgent", 5), ("most urgent", 10)]
    made = [await call("POST", path, {"input": {"text": text}, "priority": urgency}) for text, urgency in names]

    async def all_ended():
        rows = [await call("GET", f"/predictions/{each['id']}") for each in made]
        return rows if all(row["status"] == "succeeded" for row in rows) else None

    rows = await until("all to end", all_ended)
    assert all("cost" not in row["metrics"] for row in rows)
    order = [row["output"] for row in sorted(rows, key=lambda row: row["started_at"])]
    assert order.index("most urgent") < order.index("urgent")
    assert order.index("urgent") <= 4  # at most one runs and one is in the worker's hands when it comes
    plain = [each for each in order if each.startswith("plain")]
    assert plain == sorted(plain)
    await call("PATCH", "/deployments/local/e2e-line", {"min_instances": 0, "max_instances": 0})


HANGS = """import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("looking for a lock")
        time.sleep(3600)

    def predict(self, text: str) -> str:
        return text
"""


async def test_a_set_up_that_hangs_is_seen_while_it_does_and_outlives_no_deadline(stack, call, tmp_path):
    (tmp_path / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    (tmp_path / "predict.py").write_text(HANGS)
    await asyncio.to_thread(stack.tidemill, "push", "local/e2e-hangs", str(tmp_path))
    body = {"version": "local/e2e-hangs", "input": {"text": "x"}}
    first = await call("POST", "/predictions", body)

    async def printed():
        seen = await call("GET", f"/predictions/{first['id']}")
        assert seen["status"] == "starting"
        return seen if "lock" in seen.get("setup_logs", "") else None

    told = await until("what the set-up prints", printed, within_s=300)
    assert told["setup_logs"] == "looking for a lock\n"
    assert told["waiting_for"] == "instance_boot"
    assert told["waiting_since"] >= first["created_at"]
    version = (await call("GET", "/models/local/e2e-hangs"))["latest_version"]["id"]
    (boot,) = await call("GET", f"/models/local/e2e-hangs/versions/{version}/boots")
    assert (boot["status"], boot["logs"], boot["error"]) == ("booting", "looking for a lock\n", None)

    hasty = await call("POST", "/predictions", body, **{"Cancel-After": "5s"})

    async def over():
        seen = await call("GET", f"/predictions/{hasty['id']}")
        return seen if seen["status"] not in {"starting", "processing"} else None

    assert (await until("its deadline", over, within_s=300))["error_code"] == "deadline"
    await call("POST", f"/predictions/{first['id']}/cancel")


async def test_what_a_set_up_that_succeeds_prints_is_kept_with_its_boot(call, push):
    model = await push("local/e2e-says")
    await call("POST", "/predictions", {"version": model, "input": {"text": "x"}}, Prefer="wait=60")
    version = (await call("GET", f"/models/{model}"))["latest_version"]["id"]

    async def kept():
        found = await call("GET", f"/models/{model}/versions/{version}/boots")
        return [(boot["status"], boot["logs"]) for boot in found]

    assert await until("the boot", kept, within_s=300) == [("ready", "ready in a moment\n")]
