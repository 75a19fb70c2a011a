import json

from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.events import Cancel
from tidemill.contracts.prediction import Status
from tidemill.runtime.billing import Tariff
from tidemill.runtime.clock import now
from tidemill.worker.instances.boot_phases import BootTimes, phases

STEPS = st.lists(st.floats(0, 600), min_size=4, max_size=4)


@given(STEPS, st.dictionaries(st.sampled_from(["import", "setup", "sandbox", "x"]), st.floats(-1e9, 1e9)))
def test_phases_are_within_what_time_has_passed_whatever_the_child_says(steps, child_ms):
    began, fetched, built, ready = (sum(steps[: n + 1]) for n in range(4))
    found = phases(BootTimes(began, fetched, built, ready), child_ms)
    assert set(found) == {"fetch", "environment", "fork", "import", "setup", "total"}
    assert all(0 <= seconds <= found["total"] + 1e-3 for seconds in found.values())


def test_what_is_neither_import_nor_setup_is_the_fork():
    found = phases(BootTimes(1.0, 2.0, 4.0, 10.0), {"sandbox": 500, "import": 1000, "setup": 2000})
    assert found == {"fetch": 1, "environment": 2, "fork": 3, "import": 1, "setup": 2, "total": 9}


async def test_only_what_was_there_before_the_instance_was_ready_tells_of_its_boot(new_world):
    world = new_world()
    world.instance.boot = '{"total": 1}'
    world.instance.ready_at = now() + 60
    world.job("early")
    world.done("early")
    world.instance.ready_at = now() - 60
    world.job("late")
    world.done("late")
    assert world.ended["early"].boot == '{"total": 1}'
    assert world.ended["late"].boot is None


async def test_metrics_say_what_it_cost_and_the_model_cannot_change_that(new_world):
    world = new_world()
    world.tariff = Tariff("gpu-t4", 100.0)
    world.job("a")
    world.say(t="metric", id="a", key="cost", value=0)
    world.say(t="metric", id="a", key="tokens", value=7)
    world.done("a", ms=0)
    metrics = json.loads(world.ended["a"].metrics)
    assert metrics["tokens"] == 7
    assert metrics["hardware"] == "gpu-t4"
    assert metrics["cost"] == round(metrics["predict_time"] * 100, 9)


async def test_failures_are_free(new_world):
    world = new_world()
    world.tariff = Tariff("gpu-t4", 100.0)
    world.job("a")
    world.done("a", status="failed", error="no", ms=1000)
    assert world.ended["a"].status is Status.FAILED
    assert json.loads(world.ended["a"].metrics)["cost"] == 0
    world.job("b")
    await world.cancels.on_cancel(Cancel(id="b", attempt=1))
    world.done("b", status="canceled")
    assert "b" not in world.ended  # who canceled it has written what it cost
