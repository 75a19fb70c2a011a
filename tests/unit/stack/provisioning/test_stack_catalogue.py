import asyncio
from pathlib import Path

import pytest

from tidemill.stack.provisioning import provisioner
from tidemill.stack.provisioning.catalogue import Catalogue, needs_torch
from tidemill.stack.provisioning.provisioner import Provisioner
from tidemill.stack.reporting.report import ProgressReport

CATALOGUE = Path(__file__).parents[4] / "deploy" / "catalogue"


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("torch\n", True),
        ("numpy\n torch==2.13.0\n", True),
        ("torch[extra]", True),
        ("torch>=2", True),
        ("torchvision\n", False),
        ("# torch\n", False),
        ("numpy", False),
        ("pytorch-x", False),
    ],
)
def test_models_that_need_torch_are_told_by_their_requirements(tmp_path, text, needs):
    (tmp_path / "requirements.txt").write_text(text)
    assert needs_torch(tmp_path) is needs


def test_a_model_without_requirements_needs_none(tmp_path):
    assert not needs_torch(tmp_path)


def test_of_our_catalogue_the_first_model_runs_without_torch():
    possible, left_out = Catalogue(CATALOGUE).without_torch()
    assert possible[0].name == "noop"
    assert [model.name for model in left_out] == ["writer"]


def test_without_torch_the_models_that_need_it_are_left_out_with_a_word(tmp_path, monkeypatch):
    said, pushed = [], []

    async def push(_self, model, _token):
        pushed.append(model.name)

    async def nothing(*_):
        return "token"

    monkeypatch.setattr(provisioner, "has_torch", lambda: False)
    for name, stand_in in {"_push": push, "_token": nothing, "_run_first": nothing, "_collect": nothing}.items():
        monkeypatch.setattr(Provisioner, name, stand_in)
    report = ProgressReport(said.append, tmp_path / "log")
    asyncio.run(Provisioner(tmp_path, {}, 1, None, report).fill_catalogue(Catalogue(CATALOGUE)))
    assert "writer" not in pushed
    assert "noop" in pushed
    assert "tidemill/writer is left out: it needs torch" in said[0]
    assert "TIDEMILL_TORCH=any ./just setup" in said[0]
