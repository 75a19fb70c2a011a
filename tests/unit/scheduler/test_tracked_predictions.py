import msgspec

from tidemill.contracts.prediction import Status
from tidemill.scheduler.sweep_decisions import OpenPrediction, SentHints
from tidemill.scheduler.tracked_predictions import CHECK_LIMIT_S, TrackedPredictions

NOW = 1000.0


def row(name="p", **changes):
    plain = OpenPrediction(
        id=name,
        attempt=1,
        status=Status.STARTING,
        account="a",
        gateway="g",
        queue="q",
        worker=None,
        leased=False,
        known=True,
        accepted_at=NOW,
        created_at=NOW,
        started_at=None,
        deadline=None,
        webhook=False,
    )
    return msgspec.structs.replace(plain, **changes)


def running(name="p", worker="w", **changes):
    return row(name, status=Status.PROCESSING, worker=worker, **changes)


def looks(tracked, until):
    """The moments at which the prediction is looked at again, when it never changes."""
    found, now = [], NOW
    while now <= until:
        if tracked.due(now, 10):
            found.append(now - NOW)
            tracked.update([row(accepted_at=NOW)], now)
        now += 0.5
    return found


def test_looks_become_rarer():
    tracked = TrackedPredictions(late_after_s=2)
    tracked.update([row()], NOW)
    assert looks(tracked, NOW + 20) == [1, 3, 7, 12, 17]
    assert CHECK_LIMIT_S == 5


def test_a_deadline_is_not_slept_through():
    tracked = TrackedPredictions(late_after_s=2)
    tracked.update([row(deadline=NOW + 0.7)], NOW)
    assert tracked.due(NOW + 0.6, 10) == []
    assert tracked.due(NOW + 0.7, 10) == ["p"]
    tracked.update([row(deadline=NOW + 0.7)], NOW + 0.7)
    assert tracked.due(NOW + 0.8, 10) == []


def test_the_most_overdue_come_first():
    tracked = TrackedPredictions(late_after_s=2)
    tracked.update([row("b")], NOW)
    tracked.update([row("a")], NOW + 0.5)
    assert tracked.due(NOW + 9, 1) == ["b"]


def test_an_older_attempt_is_no_news_and_a_newer_one_has_no_hints():
    tracked = TrackedPredictions(late_after_s=2)
    tracked.update([row(attempt=2)], NOW)
    tracked.record_hint("p", NOW)
    assert tracked.sent_hints("p") == SentHints(1, NOW)
    assert tracked.update([row(attempt=1)], NOW) == []
    tracked.update([row(attempt=3)], NOW)
    assert tracked.sent_hints("p") == SentHints()


def test_only_unclaimed_rows_wait_and_only_old_ones_are_late():
    tracked = TrackedPredictions(late_after_s=2)
    tracked.update([row("a"), row("b", accepted_at=NOW - 2), running("c"), row("d", queue="r")], NOW)
    waiting = tracked.waiting()
    assert waiting.rows == {"q": 2, "r": 1}
    assert {queue: count for queue, count in waiting.late.items() if count} == {"q": 1}
    tracked.drop(["a", "b", "unknown"])
    assert tracked.waiting().rows == {"r": 1}


def test_rows_of_lost_workers_are_found_without_looking_at_them():
    tracked = TrackedPredictions(late_after_s=2)
    tracked.update([running("a", "w1"), running("b", "w2"), row("c")], NOW)
    assert tracked.held_by_lost_workers({"w2"}) == ["a"]


def test_what_is_remembered_tells_where_a_restart_must_begin():
    tracked = TrackedPredictions(late_after_s=2)
    assert tracked.oldest_accepted_at() is None
    tracked.update([row("a", accepted_at=NOW), row("b", accepted_at=NOW - 9)], NOW)
    assert tracked.oldest_accepted_at() == NOW - 9


def test_queues_are_found_by_name():
    tracked = TrackedPredictions(late_after_s=2)
    tracked.update([row("a"), row("b", queue="r"), running("c")], NOW)
    assert tracked.waiting_in({"q"}) == ["a"]
    assert tracked.unclaimed() == ["a", "b"]
    assert len(tracked) == 3


def test_lines_hold_those_that_wait_in_the_order_of_acceptance():
    tracked = TrackedPredictions(late_after_s=1)
    rows = [row("b", accepted_at=NOW + 1), row("a"), row("other", queue="r"), running("runs", accepted_at=NOW - 1)]
    tracked.update(rows, NOW)
    assert tracked.waiting_lists() == {"q": ["a", "b"], "r": ["other"]}
