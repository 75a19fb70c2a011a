"""A push from upload to version with nothing made up: the real zygote, sandbox and introspection."""

import json

import pytest

from tidemill.hosting.child.inspection import SandboxedInspector
from tidemill.hosting.child.zygotes import Zygotes
from tidemill.model.sandbox.settings import REQUIRED

PREDICT = b"""
import os
import tideneeded
from cog import BasePredictor, Input, Path, ConcatenateIterator

print("importing", tideneeded.VALUE)

class Predictor(BasePredictor):
    def setup(self):
        raise RuntimeError("setup does not run at push")

    def predict(self, image: Path, times: int = Input(default=3, ge=1)) -> ConcatenateIterator[str]:
        yield "x" * times
"""
NO_OPTIONS = b"predict: 'predict.py:Predictor'\n"
COG = NO_OPTIONS + b"build: {python_requirements: requirements.txt}\n"


@pytest.fixture
async def sandboxed(workshop, wheels):
    wheels("tideneeded", "1.0", module="VALUE = 'what was asked for'\n")
    zygotes = Zygotes(workshop.home)
    workshop.inspector = SandboxedInspector(zygotes, workshop.home, REQUIRED)
    workshop.pushes = workshop.builder(workshop.worker)
    yield workshop
    await zygotes.close()


async def built(sandboxed, **files):
    """The row of a push of these files after its build."""
    push_id = await sandboxed.push(await sandboxed.upload(**files))
    assert await sandboxed.pushes.build_next()
    return await sandboxed.row(push_id)


async def test_a_model_with_requirements(sandboxed):
    row = await built(sandboxed, cog__yaml=COG, predict__py=PREDICT, requirements__txt=b"tideneeded>=1\ncog==0.9\n")
    assert row["status"] == "succeeded", (row["error"], row["logs"])
    assert "importing what was asked for" in row["logs"]
    (version,) = await sandboxed.versions()
    assert version["streams"]
    properties = json.loads(version["openapi_schema"])["components"]["schemas"]["Input"]["properties"]
    assert properties["image"]["format"] == "uri"
    assert properties["times"]["minimum"] == 1


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"import tidemissing", "tidemissing"),
        (b"class Predictor:\n    def predict(self, x) -> str: ...", "x"),
        (b"import os\nos._exit(3)", "exit status 3"),
        (b"open('/etc/shadow').read()", "PermissionError"),
        (b"import socket\nsocket.create_connection(('127.0.0.1', 1), 3)", "Error"),
        (b"class Other: ...", "Predictor"),
    ],
)
async def test_models_that_cannot_be_read(sandboxed, source, error):
    row = await built(sandboxed, cog__yaml=NO_OPTIONS, predict__py=source)
    assert row["status"] == "failed"
    assert error in row["error"], row["error"]
    assert await sandboxed.versions() == []


DEFAULTS = b"""
from cog import BasePredictor, Input

class Predictor(BasePredictor):
    def predict(self, size: str = Input(default="M", choices=["S", "L"])) -> str:
        return size
"""


async def test_a_default_that_callers_could_not_send_is_warned_of(sandboxed):
    row = await built(sandboxed, cog__yaml=NO_OPTIONS, predict__py=DEFAULTS)
    assert row["status"] == "succeeded", (row["error"], row["logs"])
    (warning,) = row["warnings"]
    assert warning.startswith("predict(): the default of 'size' is not what the input takes")
    assert warning in row["logs"]
    (version,) = await sandboxed.versions()
    assert json.loads(version["config"])["warnings"] == [warning]
    assert "x-tidemill-warnings" not in json.loads(version["openapi_schema"])


WANTS_A_GPU = b"""
from cog import BasePredictor, Input, Path

raise RuntimeError("Found no NVIDIA driver on your system")

class Predictor(BasePredictor):
    def predict(self, image: Path, steps: int = Input(default=20, le=50)) -> Path:
        return image
"""


async def test_an_import_that_wants_a_gpu_is_guessed_from_the_source(sandboxed):
    row = await built(sandboxed, cog__yaml=NO_OPTIONS, predict__py=WANTS_A_GPU)
    assert row["status"] == "succeeded", (row["error"], row["logs"])
    (warning,) = row["warnings"]
    assert "RuntimeError: Found no NVIDIA driver" in warning
    (version,) = await sandboxed.versions()
    config, schema = json.loads(version["config"]), json.loads(version["openapi_schema"])
    assert config["guessed"]
    assert config["warnings"] == [warning]
    assert schema["components"]["schemas"]["Input"]["required"] == ["image"]
    assert "x-tidemill-guessed" not in schema
