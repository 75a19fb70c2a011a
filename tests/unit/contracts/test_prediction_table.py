import itertools

from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.prediction import (
    SQL_ENDS,
    SQL_OPEN,
    SQL_SOURCES,
    TERMINAL,
    TRANSITIONS,
    PredictionState,
    Status,
    may_move,
    status_when_stopped,
    transition,
)

statuses = st.sampled_from(list(Status))
moves = st.lists(st.tuples(st.integers(1, 4), statuses), max_size=60)


def walk(asked):
    position = PredictionState(Status.STARTING, 1)
    yield position
    for attempt, target in asked:
        position = transition(position, attempt, target) or position
        yield position


@given(moves)
def test_a_terminal_state_is_never_left(asked):
    seen = list(walk(asked))
    ends = [position for position in seen if position.status in TERMINAL]
    assert len(set(ends)) <= 1


@given(moves)
def test_attempts_are_gap_free_and_never_fall(asked):
    attempts = [position.attempt for position in walk(asked)]
    assert all(after - before in {0, 1} for before, after in itertools.pairwise(attempts))


@given(statuses, st.integers(1, 5), st.integers(1, 5), statuses)
def test_only_the_current_attempt_moves(status, attempt, other, target):
    moved = transition(PredictionState(status, attempt), other, target)
    assert moved is None or other == attempt


def test_aborted_means_that_it_never_began():
    assert transition(PredictionState(Status.PROCESSING, 1), 1, Status.ABORTED) is None
    assert transition(PredictionState(Status.STARTING, 1), 1, Status.ABORTED) == (Status.ABORTED, 1)


def test_the_sql_says_what_the_table_says():
    for target in Status:
        sources = {source for source in Status if f"'{source}'" in SQL_SOURCES[target]}
        assert sources == {source for source in Status if target in TRANSITIONS[source]}
    assert SQL_OPEN == "('starting', 'processing')"


def test_ends_in_sql_are_the_moves_to_a_terminal_state():
    for source in Status:
        for target in Status:
            listed = f"('{source}', '{target}')" in SQL_ENDS
            assert listed == (target in TERMINAL and may_move(source, target))


def test_what_never_began_is_aborted_when_stopped_and_what_runs_is_canceled():
    assert status_when_stopped(Status.STARTING) is Status.ABORTED
    assert status_when_stopped(Status.PROCESSING) is Status.CANCELED


def test_no_move_leaves_a_terminal_state():
    assert [(source, target) for source in TERMINAL for target in Status if may_move(source, target)] == []
