import json
import os
import time

import pytest

from cog import CancelationException
from tidemill.model.errors import exceptions
from tidemill.model.errors.contract import InputError, OutputError
from tidemill.model.process import environment
from tidemill.model.sandbox import namespaces
from tidemill.model.sandbox.limits import ResourceLimits
from tidemill.model.sandbox.paths import SYSTEM_READ, interpreter_paths
from tidemill.model.sandbox.settings import Sandbox
from tidemill.model.serving import sent_files
from tidemill.model.values import outcomes
from tidemill.model.wire.spec import BootFrame, ChildSpec


def test_a_spec_survives_the_wire():
    sandbox = Sandbox(
        "/t", read=("/a", "/b"), devices=("/dev/nvidia0",), uid=7, limits=ResourceLimits(processes=3, data_bytes=1)
    )
    spec = ChildSpec(sandbox, {"A": "1"}, threads=2)
    assert ChildSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    boot = BootFrame("predict.py:Predictor", "/m", "/t", weights="w", concurrency=3)
    frame = json.loads(json.dumps(boot.to_frame()))
    assert frame["t"] == "boot"
    assert frame["dir"] == "/m"
    assert BootFrame.from_frame(frame) == boot


def test_the_environment_has_what_is_allowed_and_places_in_tmp():
    made = environment.complete({"PATH": "/env/bin", "HOME": "/root", "HF_HOME": "/models/hf"}, "/own", 2)
    assert made["PATH"] == "/env/bin"
    assert made["HF_HOME"] == "/models/hf"
    assert made["HOME"] == made["TMPDIR"] == "/own"
    assert made["OMP_NUM_THREADS"] == "2"
    assert made["TORCH_HOME"].startswith("/own/")
    assert "OMP_NUM_THREADS" not in environment.complete({}, "/own", None)


def test_directories_that_hold_what_is_needed_are_not_covered(tmp_path):
    for name in ("cover", "keep/deep", "keepsake"):
        (tmp_path / name).mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "cover")
    wanted = [str(tmp_path / name) for name in ("cover", "link", "keep", "keepsake", "missing")]
    covered = namespaces.maskable(wanted, [str(tmp_path / "keep/deep/model")])
    assert covered == [str(tmp_path / "cover"), str(tmp_path / "keepsake")]
    assert namespaces.maskable(["/"], ["/anything"]) == []


def test_what_is_kept_of_a_covered_directory(tmp_path):
    for name in ("tmp/home/src/deep", "tmp/home/tmp", "tmp/venv/lib", "tmpfs/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tmp/link").symlink_to(tmp_path / "tmp/venv")
    names = {"link": False, "venv/lib": False, "home": False, "home/src": True, "home/src/deep": True, "none": False}
    kept = {str(tmp_path / "tmp" / name): writable for name, writable in names.items()}
    kept |= {str(tmp_path / "tmpfs/other"): False, str(tmp_path / "tmp"): False}
    found = namespaces.visible_paths(str(tmp_path / "tmp"), kept)
    shown = {path.removeprefix(f"{tmp_path}/tmp/"): writable for path, writable in found.items()}
    assert shown == {"home": False, "home/src": True, "venv": False}
    assert list(shown).index("home") < list(shown).index("home/src")


def test_nothing_secret_is_readable_by_default():
    for secret in ("/etc", "/etc/shadow", "/etc/ssl", "/etc/ssl/private", "/proc", "/sys", "/root", "/home", "/var"):
        assert secret not in SYSTEM_READ
    assert "/" not in interpreter_paths()


class TornError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class OutOfMemoryError(RuntimeError):
    __module__ = "torch.cuda"


TORCH = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (OutOfMemoryError(), True),
        (RuntimeError(TORCH), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ValueError("Cannot allocate memory"), False),
        (RuntimeError("boom"), False),
        (SystemExit("std::bad_alloc"), False),
        (TornError(), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_failures(error, memory):
    assert exceptions.is_memory(error) is memory
    assert outcomes.of_error(error, canceled=False).status == ("out_of_memory" if memory else "failed")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("boom"), "boom"),
        (ValueError(), "ValueError"),
        (ValueError("  \n"), "ValueError"),
        (KeyError("k"), "'k'"),
        (SystemExit(2), "the model called sys.exit(2)"),
        (
            CancelationException(),
            "the model raised CancelationException, but nobody had canceled the prediction",
        ),
        (CancelationException("my words"), "my words"),
        (MemoryError(), "the model ran out of memory"),
        (MemoryError("4 GB"), "the model ran out of memory: 4 GB"),
        (OutOfMemoryError("CUDA out of memory.\nmore"), "the GPU ran out of memory: CUDA out of memory."),
        (RuntimeError("CUDA out of memory. Tried"), "the GPU ran out of memory: CUDA out of memory. Tried"),
        (OSError(12, "Cannot allocate memory"), "the model ran out of memory: [Errno 12] Cannot allocate memory"),
        (RuntimeError(TORCH), f"the model ran out of memory: {TORCH}"),
        (TornError(), "TornError"),
        (InputError("seed", "too small"), "seed: too small"),
        (ValueError("x" * 10_000), "x" * exceptions.ERROR_LIMIT_CHARS),
    ],
)
def test_an_error_in_one_line(error, text):
    assert exceptions.describe(error) == text


def _raise(error):
    raise error


@pytest.mark.parametrize("error", [ValueError("boom"), TornError()])
def test_the_traceback_begins_with_the_authors_frames(error, capsys):
    try:
        _raise(error)
    except Exception as caught:  # noqa: BLE001  any
        exceptions.print_traceback(caught)
    printed = capsys.readouterr().err
    assert "_raise" in printed
    assert type(error).__name__ in printed


def test_an_error_that_explains_itself_has_no_traceback(capsys):
    exceptions.print_traceback(OutputError("not an output"))
    assert capsys.readouterr().err == ""


def test_only_files_of_this_prediction_in_tmp_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "own"))
    monkeypatch.setattr(sent_files, "_COMMON_TMP", "/nonexistent")
    (tmp_path / "own").mkdir()
    now = time.time()
    fresh, old, outside = tmp_path / "own/fresh", tmp_path / "own/old", tmp_path / "outside"
    for path in (fresh, old, outside):
        path.write_text("x")
    os.utime(old, (now - 60, now - 60))
    sent_files.delete(
        [str(path) for path in (fresh, fresh, old, outside, tmp_path / "own/none")], written_after=now - 1
    )
    assert [path.exists() for path in (fresh, old, outside)] == [False, True, True]
