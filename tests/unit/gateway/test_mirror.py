"""Events shown to listeners: order and throttle are those of real webhooks."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tidemill.gateway.live.mirror import FOLLOWED_LIMIT, THROTTLE_S, DueEvent, Mirror


def shown(mirror, now):
    return [due.event for due in mirror.take(now)]


def test_start_comes_first_and_once():
    mirror = Mirror()
    mirror.note("p", "output")
    assert shown(mirror, 0) == ["start", "output"]
    mirror.note("p", "start")
    assert shown(mirror, 9) == []


def test_outputs_and_logs_lie_apart():
    mirror = Mirror()
    mirror.note("p", "start")
    mirror.note("p", "output")
    assert shown(mirror, 0) == ["start", "output"]
    mirror.note("p", "logs")
    assert shown(mirror, 0.1) == []
    assert mirror.wait_s(0.1) == THROTTLE_S - 0.1
    assert shown(mirror, THROTTLE_S) == ["logs"]
    assert mirror.wait_s(1) is None


def test_the_end_is_told_at_once_and_nothing_after_it():
    mirror = Mirror()
    mirror.note("p", "output")
    mirror.take(0)
    mirror.note("p", "output")
    mirror.note("p", "completed")
    assert shown(mirror, 0.1) == ["completed"]
    for event in ("output", "completed", "start"):
        mirror.note("p", event)
    assert shown(mirror, 9) == []


def test_an_end_that_was_missed_is_shown_alone():
    mirror = Mirror()
    mirror.missed("p")
    mirror.note("p", "completed")
    assert mirror.take(0) == [DueEvent("p", "completed")]


def test_what_is_followed_is_bounded():
    mirror = Mirror()
    for n in range(FOLLOWED_LIMIT + 10):
        mirror.note(str(n), "start")
    assert not mirror.follows("9")
    assert mirror.follows("10")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["start", "output", "logs", "completed"]))))
def test_each_prediction_is_told_in_order(events):
    mirror, told, now = Mirror(), {"a": [], "b": []}, 0.0
    for prediction, event in events:
        mirror.note(prediction, event)
        now += 0.2
        for due in mirror.take(now):
            told[due.prediction].append((now, due.event))
    for each in told.values():
        names = [event for _, event in each]
        assert "start" not in names[1:]
        assert "completed" not in names[:-1]
        assert names[:1] in ([], ["start"])
        times = [moment for moment, event in each if event in {"output", "logs"}]
        assert all(later - earlier >= THROTTLE_S - 1e-9 for earlier, later in itertools.pairwise(times))
