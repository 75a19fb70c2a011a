"""`tidemill dev`: predictions over HTTP, and reloads when the model is edited."""

import contextlib
import json
import queue
import subprocess
import threading
import time

import httpx
import pytest

PATIENCE_S = 60
SAYS = """import os, time
from typing import Iterator
from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, text: str = Input(default="x"), crash: bool = False, sleep_s: float = 0) -> str:
        print(f"hearing {text}")
        if crash:
            os._exit(3)
        time.sleep(sleep_s)
        return f"said {text}"
"""
TOKENS = """from cog import BasePredictor, ConcatenateIterator


class Predictor(BasePredictor):
    def predict(self, text: str) -> ConcatenateIterator[str]:
        print("begun")
        for word in text.split(" "):
            yield word + " "
"""
FILES = """from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self, file: Path) -> Path:
        copy = Path("copy.txt")
        copy.write_text(file.read_text()[::-1])
        return copy
"""


class Served:
    """A running `tidemill dev`; `said` waits for a line on its stderr."""

    def __init__(self, process):
        self.process = process
        self.base = ""
        self.printed = []
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.process.stderr as stream:
            for line in stream:
                self._lines.put(line)

    def said(self, text):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"it never said {text!r} but {''.join(self.printed)}") from None
            self.printed.append(line)
            if text in line:
                return line

    def call(self, method, path, **arguments):
        return httpx.request(method, f"{self.base}{path}", timeout=PATIENCE_S, **arguments)

    def predict(self, prefer="wait", **value):
        return self.call("POST", "/v1/predictions", json={"input": value}, headers={"Prefer": prefer})


@contextlib.contextmanager
def serving(words, alone, directory):
    command = words("dev", directory, "--port", 0)
    process = subprocess.Popen(command, env=alone, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        served = Served(process)
        served.base = served.said("serving ").split()[-1]
        yield served
    finally:
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0


@pytest.fixture
def dev(words, alone):
    return lambda directory: serving(words, alone, directory)


def test_a_prediction_is_made_waited_for_and_read_again(dev, model):
    with dev(model(SAYS)) as served:
        answer = served.predict(text="hello")
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["status"], made["output"], made["logs"]) == ("succeeded", "said hello", "hearing hello\n")
        assert made["metrics"]["predict_time"] >= 0
        assert made["model"] == "local/model"
        again = httpx.get(made["urls"]["get"]).json()
        assert again == made
        assert served.call("GET", "/predictions").json()["results"] == [made]
        assert served.call("GET", "/predictions/nothing").status_code == 404
        properties = served.call("GET", "/openapi.json").json()["components"]["schemas"]["Input"]["properties"]
        assert set(properties) == {"text", "crash", "sleep_s"}


def test_an_edit_is_loaded_and_a_broken_one_is_told(dev, model):
    directory = model(SAYS)
    with dev(directory) as served:
        assert served.predict(text="a").json()["output"] == "said a"
        (directory / "predict.py").write_text(SAYS.replace("said", "sang"))
        served.said("changed: predict.py")
        assert served.predict(text="b").json()["output"] == "sang b"
        (directory / "predict.py").write_text("import nothing_here\n")
        served.said("waiting for a change")
        refused = served.predict(text="c")
        assert refused.status_code == 503
        assert "nothing_here" in refused.json()["detail"]
        (directory / "predict.py").write_text(SAYS)
        served.said("ready")
        assert served.predict(text="d").json()["output"] == "said d"


def test_a_crash_fails_one_prediction_only(dev, model):
    with dev(model(SAYS)) as served:
        crashed = served.predict(crash=True).json()
        assert crashed["status"] == "failed"
        assert "exit status 3" in crashed["error"]
        served.said("the model's process ended")
        served.said("ready")
        assert served.predict(text="e").json()["output"] == "said e"


def test_one_that_is_canceled_ends(dev, model):
    with dev(model(SAYS)) as served:
        begun = served.predict("respond-async", sleep_s=60).json()
        assert begun["status"] in {"starting", "processing"}
        canceled = httpx.post(begun["urls"]["cancel"], timeout=PATIENCE_S).json()
        assert canceled["status"] == "canceled"


def test_output_is_streamed(dev, model):
    with dev(model(TOKENS)) as served:
        made = served.predict("respond-async", text="one two").json()
        with httpx.stream("GET", made["urls"]["stream"], timeout=PATIENCE_S) as response:
            assert response.headers["content-type"] == "text/event-stream"
            events = [event.split("\n") for event in "".join(response.iter_text()).strip().split("\n\n")]
        told = [(lines[0].removeprefix("event: "), lines[2].removeprefix("data: ")) for lines in events]
        assert [each for each in told if each[0] == "output"] == [("output", "one "), ("output", "two ")]
        assert told[-1] == ("done", "{}")
        assert httpx.get(made["urls"]["get"]).json()["output"] == ["one ", "two "]


def test_files_come_as_urls_and_none_of_this_machine(dev, model):
    with dev(model(FILES)) as served:
        made = served.predict(file="data:text/plain,abc").json()
        assert made["status"] == "succeeded", made
        assert httpx.get(made["output"]).text == "cba"
        refused = served.predict(file="file:///etc/hostname").json()
        assert (refused["status"], refused["output"]) == ("failed", None)
        assert "must be an http, https or data URL" in refused["error"]


def test_files_are_sent_ahead(dev, model):
    with dev(model(FILES)) as served:
        form = {"files": {"content": ("a note.txt", b"abc", "text/plain")}}
        sent = served.call("POST", "/v1/files", headers={"Authorization": "Bearer any"}, **form)
        assert sent.status_code == 201, sent.text
        made = served.predict(file=sent.json()["urls"]["get"]).json()
        assert httpx.get(made["output"]).text == "cba"
        assert served.call("POST", "/v1/files", **form).status_code == 401


def test_pages_of_others_are_strangers(dev, model):
    with dev(model(SAYS)) as served:
        body = json.dumps({"input": {}})
        plain = served.call("POST", "/predictions", content=body, headers={"Content-Type": "text/plain"})
        assert plain.status_code == 415
        assert served.call("GET", "/predictions", headers={"Host": "evil.example"}).status_code == 403
