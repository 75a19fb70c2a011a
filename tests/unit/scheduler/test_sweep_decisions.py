import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.limits import ATTEMPTS
from tidemill.contracts.prediction import TERMINAL, PredictionState, Status, transition
from tidemill.scheduler.sweep_decisions import (
    DEADLINE_GRACE_S,
    HINT_LIFE_S,
    QUIET_LIMIT_S,
    TIME_LIMIT_GRACE_S,
    EndPrediction,
    NextAttempt,
    NoAction,
    OpenPrediction,
    ResendHint,
    SentHints,
    SweepContext,
    SweepRules,
    boot_error_for_users,
    decide,
)

NOW = 1_790_000_000.0
NO_HINTS = SentHints()
RULES = SweepRules(republish_after_s=5, republish_limit_s=60, time_limit_s=1800)
QUIET = SweepContext(now=NOW, quiet_s=QUIET_LIMIT_S)
WAITING = OpenPrediction(
    id="p",
    attempt=1,
    status=Status.STARTING,
    account="a",
    gateway="g",
    queue="q",
    worker=None,
    leased=False,
    known=True,
    accepted_at=NOW - 6,
    created_at=NOW - 6,
    started_at=None,
    deadline=None,
    webhook=False,
)
RUNNING = msgspec.structs.replace(WAITING, status=Status.PROCESSING, worker="w", leased=True, started_at=NOW - 5)


def with_(row, **changes):
    return msgspec.structs.replace(row, **changes)


def decision(row, seen=QUIET, hints=NO_HINTS):
    return decide(row, hints, seen, RULES)


def test_a_hint_that_nobody_took_is_repeated():
    assert decision(WAITING) == ResendHint()
    assert decision(with_(WAITING, accepted_at=NOW - 4.9)) == NoAction()


def test_a_hint_is_not_repeated_where_hints_wait_or_nothing_is_ready():
    assert decision(WAITING, with_(QUIET, quiet_s=0)) == NoAction()
    assert decision(WAITING, with_(QUIET, quiet_s=QUIET_LIMIT_S - 0.1)) == NoAction()


def test_a_hint_that_the_stream_has_dropped_is_repeated_whatever_waits():
    old = with_(WAITING, accepted_at=NOW - HINT_LIFE_S)
    assert decision(old, with_(QUIET, quiet_s=0)) == ResendHint()


def test_repeats_back_off():
    row = with_(WAITING, accepted_at=NOW - 500)
    for count, wait in ((1, 10), (2, 20), (3, 40), (4, 60), (9, 60)):
        assert decision(row, hints=SentHints(count, NOW - wait + 1)) == NoAction()
        assert decision(row, hints=SentHints(count, NOW - wait)) == ResendHint()


def test_after_an_outage_of_the_bus_everything_unclaimed_is_hinted_once_more():
    back = with_(QUIET, quiet_s=0, bus_back_at=NOW - 1)
    assert decision(with_(WAITING, accepted_at=NOW - 2), back) == ResendHint()
    assert decision(with_(WAITING, accepted_at=NOW - 2), back, SentHints(1, NOW)) == NoAction()
    assert decision(with_(WAITING, accepted_at=NOW - 0.5), back) == NoAction()


def test_a_deadline_before_the_start_aborts():
    ended = decision(with_(WAITING, deadline=NOW))
    assert (ended.status, ended.code) == (Status.ABORTED, ErrorCode.DEADLINE)
    assert decision(with_(WAITING, deadline=NOW + 1), with_(QUIET, quiet_s=0)) == NoAction()


def test_a_deadline_while_running_cancels_after_the_worker_had_its_chance():
    assert decision(with_(RUNNING, deadline=NOW)) == NoAction()
    ended = decision(with_(RUNNING, deadline=NOW - DEADLINE_GRACE_S))
    assert (ended.status, ended.code) == (Status.CANCELED, ErrorCode.DEADLINE)


def test_a_lost_worker_costs_an_attempt_and_then_the_prediction():
    lost = with_(RUNNING, leased=False)
    assert decision(lost) == NextAttempt()
    ended = decision(with_(lost, attempt=ATTEMPTS))
    assert (ended.status, ended.code) == (Status.FAILED, ErrorCode.WORKER_LOST)


def test_a_run_over_its_limit_fails_after_the_worker_had_its_chance():
    assert decision(with_(RUNNING, started_at=NOW - 1800)) == NoAction()
    ended = decision(with_(RUNNING, started_at=NOW - 1800 - TIME_LIMIT_GRACE_S))
    assert (ended.status, ended.code) == (Status.FAILED, ErrorCode.TIME_LIMIT)


def test_a_queue_that_is_gone_fails_what_waits_but_not_what_runs():
    ended = decision(with_(WAITING, known=False))
    assert ended.status is Status.FAILED
    assert ended.code is ErrorCode.VERSION_DELETED
    assert "no longer exists" in ended.error
    assert decision(with_(RUNNING, known=False)) == NoAction()


def test_a_queue_that_is_given_up_fails_what_waits_with_the_reason():
    doomed = with_(QUIET, boot_error="ImportError: no module named magic")
    ended = decision(WAITING, doomed)
    assert (ended.status, ended.code) == (Status.FAILED, ErrorCode.BOOT_FAILED)
    assert "ImportError: no module named magic" in ended.error
    assert decision(RUNNING, doomed) == NoAction()


def test_the_reason_of_a_failed_boot_is_bounded_and_keeps_its_end():
    error = boot_error_for_users("x" * 5000 + "ValueError: the point")
    assert len(error) < 2100
    assert error.endswith("ValueError: the point")


rows = st.builds(
    OpenPrediction,
    id=st.just("p"),
    attempt=st.integers(1, 3),
    status=st.sampled_from(Status),
    account=st.just("a"),
    gateway=st.just("g"),
    queue=st.just("q"),
    worker=st.none() | st.just("w"),
    leased=st.booleans(),
    known=st.booleans(),
    accepted_at=st.floats(NOW - 4000, NOW),
    created_at=st.floats(NOW - 4000, NOW),
    started_at=st.none() | st.floats(NOW - 4000, NOW),
    deadline=st.none() | st.floats(NOW - 100, NOW + 100),
    webhook=st.booleans(),
)
circumstances = st.builds(
    SweepContext,
    now=st.just(NOW),
    quiet_s=st.floats(0, 10),
    bus_back_at=st.floats(NOW - 100, NOW),
    boot_error=st.none() | st.just("broken"),
)
hints = st.builds(SentHints, count=st.integers(0, 2000), last_at=st.floats(0, NOW))


@given(rows, hints, circumstances)
def test_every_decision_is_a_move_that_the_table_allows(row, sent, seen):
    decided = decide(row, sent, seen, RULES)
    if row.status in TERMINAL:
        assert decided == NoAction()
    if isinstance(decided, EndPrediction):
        assert decided.status in TERMINAL
        assert transition(PredictionState(row.status, row.attempt), row.attempt, decided.status)
        assert decided.error
    if isinstance(decided, NextAttempt):
        assert row.status is Status.PROCESSING
        moved = transition(PredictionState(row.status, row.attempt), row.attempt, Status.STARTING)
        assert moved == PredictionState(Status.STARTING, row.attempt + 1)
        assert moved.attempt <= ATTEMPTS
    if isinstance(decided, ResendHint):
        assert row.status is Status.STARTING


@given(rows, hints, circumstances)
def test_a_run_with_a_live_worker_and_time_left_is_left_alone(row, sent, seen):
    safe = with_(row, status=Status.PROCESSING, leased=True, deadline=None, started_at=NOW)
    assert decide(safe, sent, seen, RULES) == NoAction()


def test_open_predictions_of_a_disabled_deployment_are_canceled():
    for row in (WAITING, RUNNING):
        end = decision(row, with_(QUIET, disabled=True))
        assert (end.status, end.code) == (Status.CANCELED, ErrorCode.DEPLOYMENT_DISABLED)
