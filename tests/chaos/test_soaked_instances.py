"""A small soak (the whole one: tests/load/soak.py): instances that crash, hang and run out of memory leave nothing."""

from pathlib import Path

import pytest

from tidemill.testing.running import RunningStack, until
from tidemill.testing.soak import MODEL, SETTINGS, Soak, boots, leftovers

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
MODELS = Path(__file__).parents[1] / "models"
COUNT = 150


@pytest.fixture
def soaked(tmp_path_factory):
    stack = RunningStack(tmp_path_factory.mktemp("soak"), SETTINGS)
    try:
        stack.up("--no-catalogue")
        stack.tidemill("push", MODEL, str(MODELS / "soak"), "--hardware", "cpu-small")
        yield stack
    finally:
        stack.down()


async def test_each_prediction_ends_once_and_nothing_is_left_behind(soaked):
    soak = Soak(soaked, count=COUNT, at_once=24, seed=1)
    await soak.run(within_s=300)
    assert await soak.faults() == []
    assert boots(soaked) > sum(asked.do == "hang" for asked in soak.asked)

    async def nothing_left() -> bool:
        left = await leftovers(soaked)
        return not left.processes and not left.folders and not left.open_predictions and left.leases == 1

    await until("instances have stopped, and all they wrote has gone", nothing_left, within_s=300)
    assert soaked.tidemill("run", MODEL, "-i", "text=still here").strip() == "still here"
