"""Dotted names of metrics nest, and nothing that a model says is lost."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.worker.model_output.metric_names import nested

names = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=6).map(".".join)


def leaves(value):
    return sum(map(leaves, value.values())) if isinstance(value, dict) else 1


def test_dots_nest():
    recorded = {"tokens.output": 5, "tokens.input.text": 1, "time": 2.5}
    assert nested(recorded) == {"time": 2.5, "tokens": {"output": 5, "input": {"text": 1}}}


def test_what_has_no_dots_stays_the_same_object():
    recorded = {"a": {"b": 1}}
    assert nested(recorded) is recorded


def test_names_inside_one_another_stay_as_they_came():
    assert nested({"a.b": 1, "a": 2}) == {"a": 2, "a.b": 1}
    assert nested({"a.b": 1, "a.b.c": 2}) == {"a": {"b": 1}, "a.b.c": 2}
    assert nested({"a": {"x": 1}, "a.b": 2}) == {"a": {"x": 1}, "a.b": 2}


def test_deep_names_stay_flat():
    assert nested({"a.b.c.d.e": 1}) == {"a.b.c.d.e": 1}


@given(st.dictionaries(names, st.integers()))
def test_nothing_is_lost(recorded):
    before = dict(recorded)
    assert leaves(nested(recorded)) == len(recorded)
    assert recorded == before
