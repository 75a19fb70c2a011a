"""Which progress event is told: start first and once, whatever the bus brings in which order and how often."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.webhook_dispatcher.rules import ProgressStep, next_progress_step, wants

EVENTS = ["start", "output", "logs"]
filters = st.none() | st.lists(st.sampled_from([*EVENTS, "completed"]), unique=True)


def test_what_comes_before_the_start_brings_it_and_waits():
    assert next_progress_step({"output"}, EVENTS, start_sent=False) == ProgressStep("start", frozenset({"output"}))
    assert next_progress_step({"logs", "output"}, EVENTS, start_sent=True) == ProgressStep("output", frozenset())
    assert next_progress_step({"logs"}, EVENTS, start_sent=True) == ProgressStep("logs", frozenset())


def test_a_start_that_comes_late_or_twice_is_told_no_more():
    assert next_progress_step({"start"}, EVENTS, start_sent=True) is None
    assert next_progress_step({"start"}, None, start_sent=False) is None
    assert next_progress_step(set(), EVENTS, start_sent=False) is None


@given(st.lists(st.sets(st.sampled_from(EVENTS))), filters)
def test_start_is_first_and_once_and_the_filter_holds(heard, wanted):
    told, waiting = [], set()
    for hints in heard:
        waiting |= hints
        telling = next_progress_step(waiting, wanted, start_sent="start" in told)
        waiting = set() if telling is None else set(telling.rest)
        if telling is not None:
            told.append(telling.event)
    assert "start" not in told[1:]
    assert all(wants(wanted, event) for event in told)
    if wants(wanted, "start") and any(heard):
        assert told[0] == "start"
    if wants(wanted, "output") and any("output" in hints for hints in heard):
        assert "output" in told or "output" in waiting
