import pytest

from tidemill.gateway.predictions.queue_status import DECIDED_AFTER_S, QueuePositions, WarmReport, waiting_reason

HEARD = WarmReport(0.0, frozenset({"warm"}), frozenset({"coming"}), frozenset({"broken"}))


@pytest.mark.parametrize(
    ("queue", "why"),
    [("warm", "queue"), ("coming", "instance_boot"), ("broken", "boot_retry"), ("nowhere", "capacity")],
)
def test_what_a_prediction_waits_for(queue, why):
    assert waiting_reason(HEARD, queue, 60.0) == why


def test_nothing_is_said_before_the_scheduler_has_decided_or_been_report():
    assert waiting_reason(HEARD, "nowhere", DECIDED_AFTER_S / 2) is None
    assert waiting_reason(None, "warm", 60.0) is None


def test_the_known_have_their_place_and_newcomers_come_after_them():
    positions = QueuePositions({"a": 1, "b": 2}, until=100.0, whole=True)
    assert [positions.position(each, 50.0) for each in ("a", "b")] == [1, 2]
    assert positions.position("new", 100.5) == 3
    assert positions.position("began a moment ago", 99.0) is None


def test_who_is_further_back_than_the_line_is_told_has_no_position():
    assert QueuePositions({"a": 1}, until=100.0, whole=False).position("far back", 101.0) is None
