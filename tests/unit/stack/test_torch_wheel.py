import shutil
from types import SimpleNamespace

import pytest

from tidemill.stack import torch_wheel
from tidemill.stack.torch_wheel import ANY, AUTO, CPU, CUDA, FOR_GPU, NONE, PYPI, SMALL, Decision, decide


@pytest.fixture
def machine(monkeypatch):
    """What torch is to be installed on; `installed` holds what uv was asked for."""
    machine = SimpleNamespace(gpu=False, reachable=True, free_mb=100_000, installed=[])

    def installs(*arguments, quiet=False):
        machine.installed.append(arguments)
        return not quiet  # there are no wheels on this machine

    monkeypatch.setattr(torch_wheel, "_installs", installs)
    monkeypatch.setattr(torch_wheel, "_has_gpu", lambda: machine.gpu)
    monkeypatch.setattr(torch_wheel, "_cpu_index_reachable", lambda: machine.reachable)
    monkeypatch.setattr(torch_wheel, "pip_configuration", lambda *_: [])
    monkeypatch.setattr(torch_wheel.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=machine.free_mb * 10**6))
    for name in ("PIP_FIND_LINKS", "TIDEMILL_TORCH"):
        monkeypatch.delenv(name, raising=False)
    return machine


def test_links_of_the_environment_come_first_and_once():
    configuration = ["[global]\nfind-links = /wheels /more\n", "[install]\nfind-links =\n  /wheels\n  https://x/%20y\n"]
    links = torch_wheel.wheel_links({"PIP_FIND_LINKS": "/own /more"}, configuration)
    assert links == ["/own", "/more", "/wheels", "https://x/%20y"]


@pytest.mark.parametrize("text", ["", "find-links = /no-section", "[global]\nindex-url = x", "[global\n"])
def test_a_configuration_without_links_gives_none(text):
    assert torch_wheel.wheel_links({}, [text]) == []


def test_configuration_files_are_found(tmp_path):
    own = tmp_path / "conf" / "pip" / "pip.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[global]\n")
    assert torch_wheel.pip_configuration({"XDG_CONFIG_HOME": str(tmp_path / "conf")}, tmp_path)[0] == "[global]\n"


@pytest.mark.parametrize(
    ("choice", "gpu", "reachable", "expected"),
    [
        (AUTO, False, True, SMALL),
        (AUTO, True, True, FOR_GPU),
        (AUTO, True, False, PYPI),
        (AUTO, False, False, None),  # gigabytes for a GPU that is not there
        (CPU, True, True, SMALL),
        (CPU, False, False, None),
        (CUDA, False, False, PYPI),
        (CUDA, True, True, FOR_GPU),
        (ANY, False, True, SMALL),
        (ANY, False, False, PYPI),
        (NONE, True, True, None),
    ],
)
def test_the_build_follows_the_choice_and_the_machine(choice, gpu, reachable, expected):
    decision = decide(choice, has_gpu=gpu, index_reachable=reachable, at_terminal=False)
    assert decision.build == expected
    assert decision.failed == (choice == CPU and not reachable)
    assert not decision.ask


def test_only_who_sits_at_a_terminal_is_asked():
    there = decide(AUTO, has_gpu=False, index_reachable=False, at_terminal=True)
    assert (there.build, there.ask) == (PYPI, True)
    assert "3 GB to fetch, 6 GB on disk" in there.reason
    assert decide(AUTO, has_gpu=False, index_reachable=True, at_terminal=True) == Decision(SMALL)


def test_a_machine_without_a_gpu_gets_no_cuda_build_unasked(machine, capsys):
    machine.reachable = False
    assert torch_wheel.main() == 0
    assert machine.installed == []
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert "going on without torch" in said
    assert "TIDEMILL_TORCH=any ./just setup" in said


@pytest.mark.parametrize(("answer", "installed"), [("y\n", [PYPI]), ("\n", []), ("", [])])
def test_at_a_terminal_the_answer_counts(machine, monkeypatch, answer, installed):
    machine.reachable = False
    terminal = SimpleNamespace(isatty=lambda: True, readline=lambda: answer)
    monkeypatch.setattr(torch_wheel.sys, "stdin", terminal)
    monkeypatch.setattr(torch_wheel.sys, "stderr", SimpleNamespace(isatty=lambda: True, write=len, flush=int))
    assert torch_wheel.main() == 0
    assert machine.installed == [(*build.arguments, "torch", "numpy") for build in installed]


@pytest.mark.parametrize(("choice", "status"), [(None, 0), ("any", 1)])
def test_a_disk_that_is_too_full_is_told_before_anything_is_fetched(machine, monkeypatch, capsys, choice, status):
    machine.free_mb = SMALL.free_mb - 1
    if choice:
        monkeypatch.setenv("TIDEMILL_TORCH", choice)
    assert torch_wheel.main() == status
    assert machine.installed == []
    assert f"has {machine.free_mb} MB free; to install the CPU build takes {SMALL.free_mb}" in capsys.readouterr().err


def test_what_is_installed_is_announced_with_its_size(machine, capsys):
    assert torch_wheel.main() == 0
    assert machine.installed == [("--torch-backend", "cpu", "torch", "numpy")]
    assert "the CPU build (200 MB to fetch, 800 MB on disk" in capsys.readouterr().err


def test_it_can_be_left_out(machine, monkeypatch):
    monkeypatch.setenv("TIDEMILL_TORCH", "none")
    assert torch_wheel.main() == 0
    assert machine.installed == []


def test_a_choice_that_is_none_is_named(machine, monkeypatch, capsys):
    monkeypatch.setenv("TIDEMILL_TORCH", "skip")
    assert torch_wheel.main() == 2
    assert "TIDEMILL_TORCH is 'skip'; it may be auto, cpu, cuda, any, none" in capsys.readouterr().err
