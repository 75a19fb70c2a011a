import contextvars
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cog
from cog._scope import BatchScope, Scope, check_name, current_scope, set_scope


@pytest.fixture
def messages():
    return []


@pytest.fixture
def scope(messages):
    return Scope({"user": "u"}, lambda *message: messages.append(message))


def test_outside_a_prediction_everything_is_a_silent_no_op():
    cog.emit_metric("no such name!", object())
    cog.BasePredictor().record_metric("predict_time", 1)
    assert cog.current_scope().context == {}
    assert len(cog.current_scope().metrics) == 0


def test_a_predictor_reaches_the_scope_of_its_prediction(scope, messages):
    set_scope(scope)
    try:
        predictor = cog.BaseRunner()
        predictor.record_metric("tokens", 2)
        predictor.scope.metrics["tokens"] += 3
        cog.emit_metric("label", "x")
        assert predictor.scope.context["user"] == "u"
    finally:
        set_scope(None)
    assert messages == [("tokens", 2, "replace"), ("tokens", 5, "replace"), ("label", "x", "replace")]
    assert current_scope() is not scope


def test_modes(scope, messages):
    for mode, value in [("incr", 2), ("incr", 3)]:
        scope.record_metric("count", value, mode=mode)
    scope.metrics.record("steps.loss", 0.5, "append")
    scope.metrics.record("steps.loss", 0.25, "append")
    assert scope.metrics["count"] == 5
    assert scope.metrics.get("steps.loss") == [0.5, 0.25]
    assert messages[-1] == ("steps.loss", 0.25, "append")
    assert list(scope.metrics) == ["count", "steps.loss"]


def test_none_deletes_and_frees_the_type(scope, messages):
    scope.record_metric("a", 1)
    with pytest.raises(TypeError, match="is a number and cannot become a str; delete it first"):
        scope.record_metric("a", "text")
    scope.record_metric("a", None)
    scope.record_metric("a", "text")
    del scope.metrics["a"]
    assert "a" not in scope.metrics
    assert messages == [("a", 1, "replace"), ("a", None, "replace"), ("a", "text", "replace"), ("a", None, "replace")]
    with pytest.raises(KeyError):
        del scope.metrics["a"]
    scope.metrics.delete("a")
    assert len(messages) == 4


def test_numpy_scalars_are_numbers(scope, messages):
    scope.record_metric("loss", np.float32(0.5))
    assert messages == [("loss", 0.5, "replace")]
    assert type(messages[0][1]) is float


@pytest.mark.parametrize(
    ("key", "value", "mode", "error", "message"),
    [
        ("1a", 1, "replace", ValueError, "is a letter"),
        ("a b", 1, "replace", ValueError, "is a letter"),
        ("a\n", 1, "replace", ValueError, "is a letter"),
        ("a..b", 1, "replace", ValueError, "is a letter"),
        ("", 1, "replace", ValueError, "is a letter"),
        ("a.b.c.d.e", 1, "replace", ValueError, "4 dotted parts"),
        ("a" * 129, 1, "replace", ValueError, "128 characters"),
        ("predict_time", 1, "replace", ValueError, "reserved"),
        ("cog.a", 1, "replace", ValueError, "reserved"),
        ("a", float("nan"), "replace", ValueError, "not a finite number"),
        ("a", object(), "replace", TypeError, "not JSON serializable"),
        ("a", 1, "add", ValueError, "not one of replace, incr, append"),
        ("a", "x", "incr", TypeError, "only numbers"),
        ("a", True, "incr", TypeError, "only numbers"),
        ("number", 1, "append", TypeError, "not a list"),
        ("number.inner", 1, "replace", ValueError, "one would be inside the other"),
        ("nested", 1, "replace", ValueError, "one would be inside the other"),
    ],
)
def test_what_is_refused(scope, messages, key, value, mode, error, message):
    scope.record_metric("number", 1)
    scope.record_metric("nested.inner", 1)
    with pytest.raises(error, match=message):
        scope.record_metric(key, value, mode)
    assert len(messages) == 2


@given(st.lists(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True), min_size=1, max_size=4))
def test_good_names(segments):
    name = ".".join(segments)
    if name != "predict_time" and segments[0] != "cog":
        check_name(name)


def test_contexts_keep_predictions_apart(messages):
    def run(name):
        set_scope(Scope({"name": name}))
        return current_scope().context["name"]

    assert [contextvars.copy_context().run(run, name) for name in "ab"] == ["a", "b"]
    assert current_scope().context == {}


def test_a_bare_thread_has_no_scope_of_a_prediction(scope):
    """The runtime takes it along for whom the thread is started: another prediction may run by then."""
    seen = []
    set_scope(scope)
    try:
        thread = threading.Thread(target=lambda: seen.append(cog.current_scope() is scope))
        thread.start()
        thread.join()
    finally:
        set_scope(None)
    assert seen == [False]


def test_what_a_batch_records_counts_for_each_of_its_predictions():
    seen = []
    scopes = [Scope({"n": str(n)}, lambda key, value, mode, n=n: seen.append((n, key, value, mode))) for n in range(2)]
    batch = BatchScope(scopes)
    batch.record_metric("tokens", 2, "incr")
    batch.batch[1].record_metric("tokens", 3, "incr")
    batch.metrics["done"] = True
    del batch.metrics["done"]
    assert seen == [
        (0, "tokens", 2, "incr"),
        (1, "tokens", 2, "incr"),
        (1, "tokens", 3, "incr"),
        (0, "done", True, "replace"),
        (1, "done", True, "replace"),
        (0, "done", None, "replace"),
        (1, "done", None, "replace"),
    ]
    assert scopes[1].metrics["tokens"] == 5
    assert [scope.context for scope in batch.batch] == [{"n": "0"}, {"n": "1"}]


def test_alone_a_scope_is_its_whole_batch():
    scope = Scope()
    assert scope.batch == (scope,)
