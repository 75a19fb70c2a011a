"""The worker's own log of what is no prediction's: so many lines a second, and how many were left out."""

from tidemill.worker.model_output.line_limit import BURST, LINES_PER_S, LineRateLimiter


def test_a_loop_fills_no_disk_and_what_is_left_out_is_counted():
    limit = LineRateLimiter()
    answers = [limit.admit(1000.0 + number / 10_000) for number in range(100_000)]
    shown = [left_out for left_out in answers if left_out is not None]
    assert BURST + 9 * LINES_PER_S <= len(shown) <= BURST + 11 * LINES_PER_S
    assert sum(shown) + len(shown) + limit.admit(2000.0) == 100_000


def test_what_comes_now_and_then_is_written():
    limit = LineRateLimiter()
    assert [limit.admit(1000.0 + second) for second in range(100)] == [0] * 100
