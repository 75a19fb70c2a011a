"""`tidemill init`: the templates work unchanged."""

import json

import pytest

from tidemill.cli.model_directory.init import Template, model_name, render_files
from tidemill.hosting.model_config.directory import read_config

# What each says to its own example; the image's packages come from an index, and are left to pushes.
SAYS = {
    Template.TEXT: "Good day, Ada!\n",
    Template.LLM: " comes in",
    Template.ASYNC: "1 2 3 4 5 \n",
    Template.TRAIN: "Hello, Ada!\n",
}


@pytest.mark.parametrize("template", SAYS)
def test_a_new_model_runs_its_example(tidemill, tmp_path, template):
    directory = tmp_path / "My Model"
    made = tidemill("init", directory, "--template", template)
    assert made.returncode == 0, made.stderr
    example = json.loads((directory / "example.json").read_text())["input"]
    options = [part for name, value in example.items() for part in ("-i", f"{name}={value}")]
    done = tidemill("predict", directory, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(SAYS[template])


@pytest.mark.parametrize("template", Template)
def test_what_is_made_can_be_pushed(tmp_path, template):
    for name, text in render_files(template, "mill").items():
        (tmp_path / name).write_text(text)
    assert {"cog.yaml", "predict.py", "example.json", "README.md", "requirements.txt", ".dockerignore"} <= {
        path.name for path in tmp_path.iterdir()
    }
    parsed = read_config(tmp_path)
    assert not parsed.warnings
    assert parsed.config.entry == "predict.py:Predictor"
    assert parsed.config.train_entry == ("train.py:train" if template is Template.TRAIN else None)
    assert "OWNER/mill" in (tmp_path / "README.md").read_text()
    for file in tmp_path.glob("*.py"):
        compile(file.read_text(), file, "exec")


def test_nothing_is_replaced(tidemill, tmp_path):
    (tmp_path / "predict.py").write_text("mine")
    done = tidemill("init", tmp_path)
    assert done.returncode == 1
    assert "predict.py already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["predict.py"]


def test_names_of_directories_become_names_of_models(tmp_path):
    assert model_name(tmp_path / "My Model (2)") == "my-model-2"
    assert model_name(tmp_path / "...") == "model"
