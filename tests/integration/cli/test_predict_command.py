"""`tidemill predict`: runs a directory once with the worker's runtime and no services."""

import json
import os
import signal
import subprocess

import pytest

from tidemill.testing.processes import gives_namespaces

LOUD = """import os, sys, time
from pathlib import Path as Place
from cog import BasePredictor, Input, Path, current_scope


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("setting up")

    def predict(self, text: str = Input(default="x"), crash: bool = False, times: int = 1) -> list[Path]:
        print(f"saying {text}")
        if crash:
            os._exit(7)
        current_scope().record_metric("letters", len(text))
        files = []
        for number in range(times):
            place = Place(str(number))
            place.mkdir()
            (place / "said.txt").write_text(text)
            files.append(Path(place / "said.txt"))
        return files
"""
WAITING = """import time
from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self) -> str:
        print("begun", flush=True)
        time.sleep(60)
        return "never"
"""
LISTS = """from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self, files: list[Path], words: list[str], note: str, number: float) -> str:
        return f"{[file.read_text() for file in files]} {words} {note} {number}"
"""


def test_text_comes_out(tidemill, models):
    done = tidemill("predict", models / "e2e_text", "-i", "text=hello there", "-i", "times=2")
    assert (done.returncode, done.stdout) == (0, "[hello there][hello there]\n"), done.stderr


def test_a_batching_model_answers_one(tidemill, models):
    done = tidemill("predict", models / "e2e_batch", "-i", "text=hello")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "hello"
    assert "scoring 1 texts" in done.stderr


def test_streamed_text_is_one_line(tidemill, models):
    done = tidemill("predict", models / "e2e_tokens", "-i", "text=one  two three", "-i", "delay_s=0.05")
    assert (done.returncode, done.stdout) == (0, "one  two three\n"), done.stderr


def test_files_go_in_and_come_out(tidemill, models, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(bytes(range(256)))
    done = tidemill("predict", models / "e2e_file", "-i", f"image=@{image}", "-o", tmp_path / "out")
    saved = tmp_path / "out" / "reversed.bin"
    assert (done.returncode, done.stdout) == (0, f"{saved}\n"), done.stderr
    assert saved.read_bytes() == bytes(range(256))[::-1]


def test_what_is_printed_goes_to_stderr_and_files_of_one_name_do_not_meet(tidemill, model, tmp_path):
    done = tidemill("predict", model(LOUD), "-i", "text=hi", "-i", "times=2", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "setting up" in done.stderr
    assert "saying hi" in done.stderr
    assert done.stdout.split() == [str(tmp_path / "out" / name) for name in ("said.txt", "said-1.txt")]
    assert not (tmp_path / "model" / "0").exists()  # it wrote into a copy


def test_json_tells_how_it_ended(tidemill, model):
    done = tidemill("predict", model(LOUD), "--json", "-i", "text=123", "-i", "times=0")
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["output"], told["error"]) == (0, "succeeded", [], None)
    assert told["metrics"]["letters"] == 3  # text stays text where a text is asked for
    assert told["metrics"]["predict_time"] >= 0
    assert told["logs"] == "saying 123\n"


def test_a_failure_is_an_exit_status_and_a_reason(tidemill, models, model):
    missing = tidemill("predict", models / "e2e_text")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "text: Field required" in missing.stderr
    crashed = tidemill("predict", model(LOUD), "-i", "crash=true")
    assert crashed.returncode == 1
    assert "exit status 7" in crashed.stderr


def test_lists_of_files_and_texts(tidemill, model, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name * 3)
    given = [f"files=@{tmp_path / 'a'}", f"files=@{tmp_path / 'b'}", "words=one", "words=two", "note=1.0", "number=2"]
    options = [part for each in given for part in ("-i", each)]
    done = tidemill("predict", model(LISTS), *options)
    assert done.stdout == "['aaa', 'bbb'] ['one', 'two'] 1.0 2.0\n", done.stderr


@pytest.mark.parametrize(
    ("predict", "options", "reason"),
    [
        ("import a_module_that_is_not_there\n", [], "a_module_that_is_not_there"),
        (LOUD, ["-i", "volume=11"], "the model has no input 'volume'"),
        (LOUD, ["-i", "text"], "not of the form name=value"),
        (LISTS, ["-i", "files=@/nowhere/at/all"], "there is no file"),
        (LISTS, ["-i", "files=/etc/passwd"], "must be an http, https or data URL"),
    ],
)
def test_what_cannot_run_says_why(tidemill, model, predict, options, reason):
    done = tidemill("predict", model(predict), *options)
    assert done.returncode == 1
    assert reason in done.stderr


def test_what_a_push_would_leave_out_is_not_there(tidemill, model):
    predict = LOUD.replace('print("setting up")', 'assert not os.path.exists("secret.txt"), "it is there"')
    done = tidemill("predict", model(predict, **{".dockerignore": "secret.txt\n", "secret.txt": "x"}), "-i", "times=0")
    assert done.returncode == 0, done.stderr


def test_an_interrupt_cancels(alone, words, model):
    process = subprocess.Popen(
        words("predict", model(WAITING)), env=alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if "begun" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert "canceled" in errors


REACHING = """import urllib.request
from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self) -> str:
        try:
            return str(urllib.request.urlopen("https://10.0.0.1/", timeout=10).status)
        except OSError as error:
            return str(error)
"""


@pytest.mark.skipif(not gives_namespaces(), reason="the way out needs a network namespace")
def test_a_model_that_asks_for_the_network_gets_the_guarded_way_out(tidemill, model):
    cog_yaml = 'predict: "predict.py:Predictor"\n'
    assert "Tunnel" not in tidemill("predict", model(REACHING, cog_yaml)).stdout
    done = tidemill("predict", model(REACHING, f"{cog_yaml}tidemill:\n  network: true\n"))
    assert "Tunnel connection failed: 403" in done.stdout, done.stderr
