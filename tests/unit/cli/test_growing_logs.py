"""What is new of a log that is asked for again and again."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.cli.run.logs import added


@given(st.text(), st.text())
def test_what_was_added_is_printed_once(before, more):
    assert added(before, before + more) == more


def test_an_attempt_that_begins_again_is_printed_from_where_it_differs():
    assert added("loading\nstep 1\n", "loading\nstop\n") == "op\n"
    assert added("loading\n", "") == ""
