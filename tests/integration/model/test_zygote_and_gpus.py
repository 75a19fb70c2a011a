"""No zygote holds a GPU, and none shows one to what it imports. The devices are made up."""

import json
import os
import sys
from pathlib import Path

import pytest

from tidemill.hosting.child import zygotes as module
from tidemill.hosting.child.zygotes import Zygotes, holds_gpu
from tidemill.hosting.environments.store import Environment

BASE = Environment("base-json", "base-json", Path(sys.executable), ("json.tool",), None, ())


@pytest.fixture
async def zygotes(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    zygotes = Zygotes(tmp_path)
    yield zygotes
    await zygotes.close()


def test_an_open_device_file_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_GPU_FILES", str(tmp_path / "nvidia"))
    assert not holds_gpu(os.getpid())
    with (tmp_path / "nvidia0").open("w"):
        assert holds_gpu(os.getpid())
    assert not holds_gpu(2**22 + 1)  # no such process


async def test_what_a_zygote_imports_sees_no_gpu(zygotes):
    zygote = await zygotes.get(BASE)
    assert list(zygote.modules) == ["json.tool"]
    env = dict(
        line.split("=", 1) for line in Path(f"/proc/{zygote.process.pid}/environ").read_text().split("\0") if line
    )
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert env["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"


async def test_a_zygote_whose_imports_touched_a_gpu_is_replaced_by_one_without(zygotes, monkeypatch):
    asked = []

    def holds(pid):
        asked.append(pid)
        return True

    monkeypatch.setattr(module, "holds_gpu", holds)
    zygote = await zygotes.get(BASE)
    assert zygote.modules == {}
    assert zygote.process.pid not in asked
    assert not zygote.dead.done()
    known = json.loads(Path(zygotes._records_path).read_text())
    assert [one["zygote"] for one in known] == ["base-json"]
