from pathlib import Path

import pytest
from crowd import MODEL

from tidemill.testing.running import RunningStack

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    settings = {"TIDEMILL_LEASE_S": "3", "TIDEMILL_INSTANCES": "3", "TIDEMILL_REPUBLISH_AFTER_S": "2"}
    running = RunningStack(tmp_path_factory.mktemp("chaos"), settings)
    try:
        running.up("--no-catalogue")
        running.tidemill("push", MODEL, str(MODELS / "chaos_echo"))
        assert running.tidemill("run", MODEL, "-i", "text=warm").strip() == "warm"
        yield running
    finally:
        running.down()
