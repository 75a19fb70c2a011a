import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.events import Job
from tidemill.hosting.child.frames import MetricFrame
from tidemill.worker.runs import run as run_module
from tidemill.worker.runs.run import CUT, METRICS_CUT, METRICS_LIMIT, METRICS_LIMIT_BYTES, Run


def a_run():
    return Run(Job(id="a", attempt=1, account="a", gateway="g", created_at=0.0), "q")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(run_module, "LOGS_LIMIT_BYTES", 10)


@pytest.mark.usefixtures("small")
def test_what_was_dropped_is_said_once_live_and_counted_in_the_record():
    run = a_run()
    assert run.add_log("12345") == "12345"
    assert run.add_log("678901234") == "67890" + CUT
    assert run.add_log("more") == ""
    assert run.logs_so_far().startswith("1234567890\n[8 more characters were dropped: logs are kept up to")


@pytest.mark.usefixtures("small")
def test_the_limit_is_one_of_bytes_and_splits_no_character():
    run = a_run()
    assert run.add_log("ééééé") == "ééééé"
    other = a_run()
    assert other.add_log("x" + "é" * 5) == "xéééé" + CUT
    assert other.logs_dropped == 1


@pytest.mark.usefixtures("small")
def test_exactly_at_the_limit_nothing_is_said():
    run = a_run()
    run.add_log("1234567890")
    assert run.logs_so_far() == "1234567890"


@given(st.lists(st.text(max_size=30), max_size=20))
def test_nothing_is_lost_below_the_limit(texts):
    run = a_run()
    for text in texts:
        run.add_log(text)
    assert run.logs_so_far() == "".join(texts).replace("\0", "\N{REPLACEMENT CHARACTER}")


def test_a_bar_is_progress_until_the_next_one_and_also_when_its_text_is_dropped(monkeypatch):
    run = a_run()
    assert run.measured_so_far() is None
    run.add_log("\r 10%|#   | 1/10")
    assert json.loads(run.measured_so_far()) == {"progress": 0.1}
    run.add_log("talk of 50% of something\n")
    monkeypatch.setattr(run_module, "LOGS_LIMIT_BYTES", 0)
    run.add_log("\r 70%|### | 7/10")
    assert run.measured() == {"progress": 0.7}


def test_what_the_model_records_itself_counts_more():
    run = a_run()
    run.add_log("\r 10%|#   | 1/10")
    run.add_metric(MetricFrame(id="a", key="progress", value=b"0.9"))
    assert run.measured() == {"progress": 0.9}


def record(run, key, value, mode="replace"):
    run.add_metric(MetricFrame(id="a", key=key, value=json.dumps(value).encode(), mode=mode))


def test_metrics_are_few_and_what_is_dropped_is_said_once():
    run = a_run()
    for number in range(METRICS_LIMIT + 5):
        record(run, f"m{number}", number)
    record(run, "m0", "again")
    assert len(run.measured()) == METRICS_LIMIT
    assert run.measured()["m0"] == "again"
    assert run.logs_so_far() == METRICS_CUT


def test_metrics_are_small_however_they_grow():
    run = a_run()
    for _ in range(10):
        record(run, "big", "x" * (METRICS_LIMIT_BYTES // 2))  # in place of the one before
    record(run, "more", "x" * (METRICS_LIMIT_BYTES // 2))
    for number in range(METRICS_LIMIT_BYTES):
        record(run, "list", number, "append")
    assert "more" not in run.measured()
    assert len(run.measured_so_far()) < METRICS_LIMIT_BYTES * 1.5
    assert run.measured()["list"][:3] == [0, 1, 2]
    record(run, "big", None)
    record(run, "more", "fits now")
    assert run.measured()["more"] == "fits now"
