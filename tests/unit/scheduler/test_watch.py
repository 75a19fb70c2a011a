import msgspec

from tidemill.contracts.prediction import Status
from tidemill.scheduler.sweep import Hints, Row
from tidemill.scheduler.watch import LOOK_LIMIT_S, Watch

NOW = 1000.0


def row(name="p", **changes):
    plain = Row(
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


def looks(watch, until):
    """The moments at which the prediction is looked at again, when it never changes."""
    found, now = [], NOW
    while now <= until:
        if watch.due(now, 10):
            found.append(now - NOW)
            watch.saw([row(accepted_at=NOW)], now)
        now += 0.5
    return found


def test_looks_become_rarer():
    watch = Watch(late_after_s=2)
    watch.saw([row()], NOW)
    assert looks(watch, NOW + 20) == [1, 3, 7, 12, 17]
    assert LOOK_LIMIT_S == 5


def test_a_deadline_is_not_slept_through():
    watch = Watch(late_after_s=2)
    watch.saw([row(deadline=NOW + 0.7)], NOW)
    assert watch.due(NOW + 0.6, 10) == []
    assert watch.due(NOW + 0.7, 10) == ["p"]
    watch.saw([row(deadline=NOW + 0.7)], NOW + 0.7)
    assert watch.due(NOW + 0.8, 10) == []


def test_the_most_overdue_come_first():
    watch = Watch(late_after_s=2)
    watch.saw([row("b")], NOW)
    watch.saw([row("a")], NOW + 0.5)
    assert watch.due(NOW + 9, 1) == ["b"]


def test_an_older_attempt_is_no_news_and_a_newer_one_has_no_hints():
    watch = Watch(late_after_s=2)
    watch.saw([row(attempt=2)], NOW)
    watch.hinted("p", NOW)
    assert watch.hints("p") == Hints(1, NOW)
    assert watch.saw([row(attempt=1)], NOW) == []
    watch.saw([row(attempt=3)], NOW)
    assert watch.hints("p") == Hints()


def test_only_unclaimed_rows_wait_and_only_old_ones_are_late():
    watch = Watch(late_after_s=2)
    watch.saw([row("a"), row("b", accepted_at=NOW - 2), running("c"), row("d", queue="r")], NOW)
    waiting = watch.waiting()
    assert waiting.rows == {"q": 2, "r": 1}
    assert {queue: count for queue, count in waiting.late.items() if count} == {"q": 1}
    watch.drop(["a", "b", "unknown"])
    assert watch.waiting().rows == {"r": 1}


def test_rows_of_lost_workers_are_found_without_looking_at_them():
    watch = Watch(late_after_s=2)
    watch.saw([running("a", "w1"), running("b", "w2"), row("c")], NOW)
    assert watch.held_by_others({"w2"}) == ["a"]


def test_what_is_remembered_tells_where_a_restart_must_begin():
    watch = Watch(late_after_s=2)
    assert watch.oldest_accepted_at() is None
    watch.saw([row("a", accepted_at=NOW), row("b", accepted_at=NOW - 9)], NOW)
    assert watch.oldest_accepted_at() == NOW - 9


def test_queues_are_found_by_name():
    watch = Watch(late_after_s=2)
    watch.saw([row("a"), row("b", queue="r"), running("c")], NOW)
    assert watch.waiting_in({"q"}) == ["a"]
    assert watch.unclaimed() == ["a", "b"]
    assert len(watch) == 3


def test_lines_hold_those_that_wait_in_the_order_of_acceptance():
    watch = Watch(late_after_s=1)
    rows = [row("b", accepted_at=NOW + 1), row("a"), row("other", queue="r"), running("runs", accepted_at=NOW - 1)]
    watch.saw(rows, NOW)
    assert watch.lines() == {"q": ["a", "b"], "r": ["other"]}
