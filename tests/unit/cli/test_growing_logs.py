"""The new part of a log that is polled."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.cli.run.logs import new_text


@given(st.text(), st.text())
def test_new_text_is_printed_once(before, more):
    assert new_text(before, before + more) == more


def test_an_attempt_that_begins_again_is_printed_from_where_it_differs():
    assert new_text("loading\nstep 1\n", "loading\nstop\n") == "op\n"
    assert new_text("loading\n", "") == ""
