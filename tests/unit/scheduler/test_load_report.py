import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.events import LoadReport, QueueLoad
from tidemill.contracts.prediction import Status
from tidemill.scheduler import load_report
from tidemill.scheduler.load_report import build_load_report
from tidemill.scheduler.scan_windows import FRESH_AFTER_S, ScanWindows
from tidemill.scheduler.sweep_decisions import OpenPrediction

NOW = 1000.0


def row(name, account="a", queue="q", accepted_at=NOW - 5, worker=None):
    return OpenPrediction(
        id=name,
        attempt=1,
        status=Status.PROCESSING if worker else Status.STARTING,
        account=account,
        gateway="g",
        queue=queue,
        worker=worker,
        leased=worker is not None,
        known=True,
        accepted_at=accepted_at,
        created_at=accepted_at,
        started_at=None,
        deadline=None,
        webhook=False,
    )


def test_what_runs_is_open_and_does_not_wait():
    rows = [
        row("1", accepted_at=NOW - 5),
        row("2", accepted_at=NOW - 7),
        row("3", accepted_at=NOW - 90, worker="w"),
        row("4", account="b", queue="r", accepted_at=NOW - 1),
        row("5", account="b", queue="s", worker="w"),
    ]
    told = build_load_report(rows, NOW, 1.25)
    assert told.open == {"a": 3, "b": 2}
    assert {each.queue: (each.waiting, each.oldest_at) for each in told.queues} == {
        "q": (2, NOW - 7),
        "r": (1, NOW - 1),
    }
    assert (told.at, told.behind_s) == (NOW, 1.25)


def test_when_there_are_too_many_those_with_the_most_are_told(monkeypatch):
    monkeypatch.setattr(load_report, "QUEUES_LIMIT", 1)
    monkeypatch.setattr(load_report, "ACCOUNTS_LIMIT", 1)
    rows = [row("1", "few", "short"), *(row(str(n), "many", "long") for n in range(2, 5))]
    told = build_load_report(rows, NOW, 1)
    assert told.open == {"many": 3}
    assert told.queues == [QueueLoad(queue="long", waiting=3, oldest_at=NOW - 5)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("qrs"), st.floats(0, NOW), st.booleans())))
def test_counts_add_up_and_survive_the_wire(drawn):
    rows = [row(str(n), a, q, at, "w" if runs else None) for n, (a, q, at, runs) in enumerate(drawn)]
    told = msgspec.json.decode(msgspec.json.encode(build_load_report(rows, NOW, 1)), type=LoadReport)
    assert sum(told.open.values()) == len(rows)
    assert sum(each.waiting for each in told.queues) == sum(row.waits for row in rows)


def test_what_is_fresh_has_not_been_looked_for():
    windows = ScanWindows(watermark=NOW - 100)
    windows.advance(NOW)
    windows.next_fresh(NOW)
    assert windows.seen_until() == NOW - FRESH_AFTER_S
