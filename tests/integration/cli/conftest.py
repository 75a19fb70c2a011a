"""The `tidemill` command without services and without a token."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITHIN_S = 300
MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """The environment of a command that no stack is there for; what it builds is kept for the session."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("REPLICATE_", "TIDEMILL_"))}
    return {**env, "TIDEMILL_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="session")
def words():
    """A command line of the program."""
    program = str(Path(sys.executable).with_name("tidemill"))
    return lambda *arguments: [program, *map(str, arguments)]


@pytest.fixture(scope="session")
def tidemill(alone, words):
    def run(*arguments, **environment):
        env = {**alone, **environment}
        return subprocess.run(words(*arguments), env=env, capture_output=True, text=True, timeout=WITHIN_S, check=False)

    return run


@pytest.fixture
def models():
    return MODELS


@pytest.fixture
def model(tmp_path):
    """Makes a model's directory of its predict.py and other files."""

    def make(predict, cog_yaml='predict: "predict.py:Predictor"\n', **files):
        directory = tmp_path / "model"
        directory.mkdir(exist_ok=True)
        contents = {"predict.py": predict, "cog.yaml": cog_yaml, **files}
        for name, content in contents.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return directory

    return make
