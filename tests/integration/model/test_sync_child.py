"""Predictions of synchronous models in real children: answers, errors, logs, files, streams, metrics."""

import re
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "models"
TRACEBACKS = """
import json, logging, threading, traceback, warnings
from concurrent.futures import ThreadPoolExecutor
def fail():
    json.loads("{")
def chained():
    try:
        ThreadPoolExecutor(1).submit(fail).result()
    except ValueError as error:
        raise KeyError("of another") from error
try:
    chained()
except KeyError:
    traceback.print_exc()
    logging.exception("logged")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
warnings.warn("told", stacklevel=1)


chained()
"""


async def test_setup_and_predict_share_the_main_thread_and_answers_come_in_order(launch):
    child = await launch("proc_basic")
    assert child.logs(None) == "set up\n"
    child.run("a", do="same_thread")
    for number in range(200):
        child.run(f"n{number}", do="echo", text=str(number))
    await child.done("n199")
    answers = child.of("done")
    assert answers[0]["output"] is True
    assert [answer["id"] for answer in answers] == ["a", *(f"n{number}" for number in range(200))]
    assert [answer["output"] for answer in answers[1:]] == [str(number) for number in range(200)]


async def test_boot_reports_phases_and_layers(launch):
    child = await launch("proc_basic")
    ready = child.of("ready")[0]
    assert set(ready["phases"]) == {"sandbox", "import", "setup"}
    assert {layer["name"] for layer in ready["layers"]} >= {"network", "files", "syscalls", "limits"}
    assert ready["concurrency"] == 1
    assert ready["schema"] is None


async def test_an_exception_is_one_line_for_the_caller_and_the_authors_traceback_in_the_logs(launch):
    child = await launch("proc_basic")
    done = await child.predict("x", do="fail", text="boom")
    assert (done["status"], done["error"]) == ("failed", "boom")
    logs = child.logs("x")
    assert logs.endswith("ValueError: boom\n")
    assert '  File "predict.py", line ' in logs
    assert str(MODELS) not in logs
    assert "sync_server" not in logs
    assert "zygote" not in logs
    assert (await child.predict("y", do="fail_empty"))["error"] == "KeyError"


async def test_no_traceback_in_a_users_logs_shows_the_operators_paths(launch):
    """However it is printed: by us, by the model, by a logger, for a thread, with what it came of, as a warning."""
    child = await launch("proc_basic")
    done = await child.predict("x", do="run_as_code", text=TRACEBACKS)
    assert done["status"] == "failed"
    logs = child.logs("x")
    assert logs.count('  File "json/decoder.py", line ') >= 3
    assert '  File "predict.py", line ' in logs
    assert '  File "concurrent/futures/' in logs
    places = re.findall(r'File "([^"]+)"', logs)
    assert not [place for place in places if place.startswith("/")], logs
    assert sys.prefix not in logs
    assert str(MODELS) not in logs


@pytest.mark.parametrize(
    ("do", "text", "error"),
    [
        ("leave", "", "the model called sys.exit(3)"),
        ("memory", "", "the model ran out of memory"),
        ("huge", "", "return a file instead"),
        ("nan", "", "NaN"),
        ("pipe", "", "not a regular file"),
    ],
)
async def test_what_fails_one_prediction_leaves_the_child_working(launch, do, text, error):
    child = await launch("proc_basic")
    done = await child.predict("x", do=do, text=text)
    assert done["status"] == ("out_of_memory" if do == "memory" else "failed")
    assert error in done["error"]
    assert (await child.predict("y", text="still here"))["output"] == "still here"


async def test_bad_input_names_the_field(launch):
    child = await launch("proc_basic")
    done = await child.predict("x", seconds="soon")
    assert done["status"] == "failed"
    assert done["error"].startswith("seconds: ")


async def test_a_crash_ends_the_child_with_its_signal_and_says_where(launch):
    child = await launch("proc_basic")
    child.run("x", do="crash")
    ended = await child.exit()
    assert (ended.code, ended.signal) == (None, 11)
    assert b"in crash" in child.pipe
    assert child.of("done") == []


async def test_exit_code_and_last_words(launch):
    child = await launch("proc_basic")
    child.run("x", do="die", text="9")
    assert (await child.exit()).code == 9
    assert child.logs("x") == "last words\n"


async def test_stop_finishes_what_runs_and_leaves(launch):
    child = await launch("proc_basic")
    child.run("x", do="bar", seconds=0.3)
    child.run("y")
    await child.started("x")
    child.process.stop()
    assert (await child.exit()).code == 0
    assert [(done["id"], done["status"]) for done in child.of("done")] == [("x", "succeeded")]


async def test_an_idle_child_stops(launch):
    child = await launch("proc_basic")
    child.process.stop()
    assert (await child.exit()).code == 0


async def test_logs_belong_to_their_prediction_and_never_leak_into_the_next(launch):
    child = await launch("proc_basic")
    for number, do in enumerate(["say", "say_err", "say_thread", "say"]):
        child.run(f"p{number}", do=do, text=f"text {number}")
    await child.done("p3")
    assert [child.logs(f"p{n}") for n in range(4)] == ["text 0", "text 1\n", "text 2\n", "text 3"]


async def test_a_progress_bar_is_seen_while_the_prediction_runs(launch):
    child = await launch("proc_basic")
    child.run("x", do="bar", seconds=60.0)
    await child.started("x")
    assert child.logs("x") == "\r10%"
    assert child.of("done") == []


async def test_what_c_code_writes_is_there_when_the_prediction_ends(launch):
    child = await launch("proc_basic")
    child.run("x", do="say_c", text="from elsewhere")
    child.run("y")
    await child.done("y")
    assert child.pipe_at_done["x"].strip() == b"from elsewhere"
    assert child.logs("x") == ""


@pytest.mark.parametrize("do", ["say_child", "say_fork"])
async def test_what_other_processes_write_is_there_when_the_prediction_ends(launch, do):
    child = await launch("proc_basic")
    child.run("x", do=do, text="from elsewhere")
    child.run("y")
    await child.done("y")
    kinds = [(frame["t"], frame["id"]) for frame in child.frames if frame["t"] in {"log", "done"}]
    assert kinds.index(("log", "x")) < kinds.index(("done", "x"))
    assert (child.logs("x").strip(), child.pipe) == ("from elsewhere", b"")


async def test_output_of_c_code_is_read_before_the_next_prediction_begins(launch):
    child = await launch("proc_basic")
    for number in range(20):
        child.run(str(number), do="say_c", text=f"<{number}>")
    await child.done("19")
    assert [child.pipe_at_done[str(n)].endswith(f"<{n}>".encode()) for n in range(20)] == [True] * 20


async def test_files_come_as_descriptors_and_are_gone_afterwards(launch):
    child = await launch("proc_basic")
    done = await child.predict("x", do="file", text="content")
    assert done["files"] == [{"pointer": "", "name": "out.txt"}]
    assert done["output"] is None
    assert child.files["x"] == [b"content"]
    left = await child.predict("y", do="probe", text="import os\nresult = os.listdir(os.environ['TMPDIR'])")
    assert "out.txt" not in left["output"]


async def test_more_files_than_the_kernel_passes_at_once(launch):
    child = await launch("proc_basic")
    done = await child.predict("x", do="files", text="700")
    assert done["output"] == [None] * 700
    assert [file["pointer"] for file in done["files"][:2]] == ["/0", "/1"]
    assert child.files["x"] == [str(number).encode() for number in range(700)]


async def test_more_files_than_a_frame_may_hold(launch):
    child = await launch("proc_basic")
    done = await child.predict("x", do="files", text="1001")
    assert done["status"] == "failed"
    assert "1001 files" in done["error"]


async def test_metrics_and_context(launch):
    child = await launch("proc_basic")
    child.run("x", do="metric", text="5", context={"who": "me"})
    assert (await child.done("x"))["output"] == "me"
    (metric,) = child.of("metric")
    assert (metric["id"], metric["key"], metric["value"], metric["mode"]) == ("x", "tokens", 5, "replace")


async def test_a_metric_of_megabytes_is_dropped_by_the_child_and_the_prediction_goes_on(launch):
    child = await launch("proc_basic")
    code = "from cog import current_scope\ncurrent_scope().record_metric('large', 'x' * 7_000_000)\nresult = 'on'"
    assert (await child.predict("x", do="probe", text=code))["output"] == "on"
    assert child.logs("x").startswith("[the metric large is dropped")
    assert child.of("metric") == []


async def test_an_iterator_streams_and_ends_with_no_more_items(launch):
    child = await launch("proc_broken", "predict.py:Streams")
    done = await child.predict("x", count=3)
    assert [frame["value"] for frame in child.of("output", "x")] == ["0 ", "1 ", "2 "]
    assert (done["status"], done["output"]) == ("succeeded", [])
    failed = await child.predict("y", count=3, fail_at=1)
    assert (failed["status"], failed["error"]) == ("failed", "no more")
    assert [frame["value"] for frame in child.of("output", "y")] == ["0 "]
    assert child.logs("y").startswith("closed\n")


async def test_an_iterator_of_files(launch):
    child = await launch("proc_broken", "predict.py:StreamsFiles")
    if not child.has_own_mounts:
        pytest.skip("a child without mounts of its own gets no /dev/shm")
    await child.predict("x", count=3)
    assert child.files["x"] == [b"0", b"1", b"2"]


async def test_a_prediction_cannot_see_the_workers_environment(launch, monkeypatch):
    monkeypatch.setenv("TIDEMILL_SECRET", "s3cret")
    child = await launch("proc_basic", env={"MODEL_FLAG": "1"})
    environment = (await child.predict("x", do="environ"))["output"]
    assert environment["MODEL_FLAG"] == "1"
    assert "TIDEMILL_SECRET" not in environment
    assert environment["HOME"] == environment["TMPDIR"]
    own = await child.predict("y", do="probe", text="result = open('/proc/self/environ').read()")
    assert "s3cret" not in own["output"]


async def test_children_of_one_zygote_draw_different_numbers(launch):
    first, second = await launch("proc_basic"), await launch("proc_basic")
    drawn = [(await child.predict("x", do="numbers"))["output"] for child in (first, second)]
    assert None not in drawn
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("entry", "kind", "error"),
    [
        ("predict.py:FailsInSetup", "setup", r"RuntimeError: no weights here"),
        ("predict.py:LeavesInSetup", "setup", r"the model called sys.exit\('gone'\)"),
        ("predict.py:NoAnnotation", "contract", r"return annotation"),
        ("predict.py:Nobody", "contract", r"defines no 'Nobody'"),
        ("imports.py:Predictor", "import", r"ModuleNotFoundError: .*a_module_that_nobody_has"),
    ],
)
async def test_a_boot_that_fails_says_why_in_one_line(launch, entry, kind, error):
    child = await launch.start("proc_broken", entry)
    failed = await child.booted()
    assert (failed["t"], failed["kind"]) == ("failed", kind)
    assert re.search(error, failed["error"])
    assert "\n" not in failed["error"]
    assert (await child.exit()).code == 70
    if kind != "contract":
        assert "Traceback" in child.logs(None)


async def test_weights_reach_setup(launch):
    child = await launch("proc_broken", "predict.py:TakesWeights", weights="https://example.com/w")
    assert (await child.predict("x"))["output"] == "https://example.com/w"


async def test_inspect_answers_with_the_schema_and_leaves(launch):
    child = await launch.start("proc_broken", "predict.py:FailsInSetup", mode="inspect", train_entry="predict.py:train")
    ready = await child.booted()
    assert ready["t"] == "ready"
    assert {"Input", "Output", "TrainingInput"} <= set(ready["schema"]["components"]["schemas"])
    assert (await child.exit()).code == 0


async def test_train_runs_the_training_function(launch):
    child = await launch("proc_broken", "predict.py:train", mode="train")
    assert (await child.predict("x", text="loud"))["output"] == "LOUD"
