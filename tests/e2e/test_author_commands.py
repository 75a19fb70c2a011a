"""`tidemill logs` and `tidemill train` against a running stack."""

import json
from pathlib import Path

import httpx
import pytest

TRAINABLE = Path(__file__).parent.parent / "models" / "contract_train"
TALKING = """from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str, fail: bool = False) -> str:
        print(f"thinking of {text}")
        if fail:
            raise ValueError("no thought came")
        return text
"""


@pytest.fixture(scope="module")
def talking(command, tmp_path_factory):
    directory = tmp_path_factory.mktemp("talking")
    (directory / "predict.py").write_text(TALKING)
    (directory / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    pushed = command("push", "local/e2e-talking", directory)
    assert pushed.returncode == 0, pushed.stderr
    return "local/e2e-talking"


def test_logs_of_a_prediction_and_of_its_model(command, talking):
    ran = json.loads(command("run", talking, "-i", "text=tides", "--json").stdout)
    failed = command("run", talking, "-i", "text=mills", "-i", "fail=true")
    assert failed.returncode == 1
    for options in ([], ["-f"]):
        told = command("logs", ran["id"], *options)
        assert (told.returncode, told.stdout, told.stderr) == (0, "thinking of tides\n", "")
    told = command("logs", talking)
    assert told.returncode == 0, told.stderr
    first, second = told.stdout.split("==> ")[-2:]
    assert first.splitlines() == [f"{ran['id']} succeeded", "thinking of tides"]
    assert "thinking of mills" in second
    assert second.splitlines()[-1] == "no thought came"


def test_logs_of_nothing_say_so(command):
    assert "there is no prediction" in command("logs", "01k00000000000000000000000").stderr
    assert "there is no model" in command("logs", "local/e2e-nowhere").stderr


def test_a_training_makes_its_destination_and_a_version(command):
    pushed = command("push", "local/e2e-teachable", TRAINABLE)
    assert pushed.returncode == 0, pushed.stderr
    done = command("train", "local/e2e-teachable", "local/e2e-taught", "-i", "greeting=ahoy")
    assert done.returncode == 0, done.stderr
    assert "Made the private model local/e2e-taught." in done.stderr
    assert done.stdout.startswith("Version local/e2e-taught:")
    assert command("run", "local/e2e-taught", "-i", "name=you").stdout == "ahoy you\n"
    refused = command("train", "local/e2e-teachable", "local/e2e-taught")
    assert refused.returncode == 1
    assert "greeting" in refused.stderr


# A push imports it where nothing can be written, an instance in a directory of its own.
WANTS_A_GPU = """import os
from cog import BasePredictor, Input

if not os.access(".", os.W_OK):
    raise RuntimeError("Found no NVIDIA driver on your system")


def computed():
    return "sea"


class Predictor(BasePredictor):
    def predict(self, text: str = Input(default=computed())) -> str:
        return text
"""


def test_a_schema_that_was_guessed_is_corrected_by_the_first_instance(stack, command, tmp_path):
    (tmp_path / "predict.py").write_text(WANTS_A_GPU)
    (tmp_path / "cog.yaml").write_text('build:\n  cuda: "12.4"\npredict: "predict.py:Predictor"\n')
    pushed = command("push", "local/e2e-guessed", tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert "Found no NVIDIA driver" in pushed.stderr

    def version():
        headers = {"Authorization": f"Bearer {stack.token}"}
        url = f"{stack.base_url}/v1/models/local/e2e-guessed"
        found = httpx.get(url, headers=headers).raise_for_status().json()["latest_version"]
        return found["warnings"], found["openapi_schema"]["components"]["schemas"]["Input"]["properties"]["text"]

    warnings, text = version()
    assert len(warnings) == 2
    assert "default" not in text
    assert command("run", "local/e2e-guessed").stdout == "sea\n"
    warnings, text = version()
    assert warnings == ["build.cuda in cog.yaml is ignored."]
    assert text["default"] == "sea"
