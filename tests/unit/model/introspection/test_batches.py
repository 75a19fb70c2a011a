"""What `@cog.batch` asks of a signature, and which predictions share a call."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cog
from cog import Batch, Input, Path, Secret
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection import batches
from tidemill.model.introspection.callables import inspect_callable
from tidemill.model.introspection.load import load_predictor, load_signature, load_train
from tidemill.model.introspection.shapes import Kind
from tidemill.model.schema.openapi import openapi_schema
from tidemill.model.values.coerce import build_kwargs

SOURCE = """
import cog

@cog.batch(max_size=4)
def entry(text: cog.Batch[str]) -> cog.Batch[str]:
    return text
"""


def batched(function, **settings):
    return inspect_callable(cog.batch(**({"max_size": 4} | settings))(function))


def simple(text: Batch[str], times: int = Input(default=1, ge=1)) -> Batch[str]:
    return Batch(each * times for each in text)


def test_the_mark_and_the_items_types_are_read():
    signature = batched(simple, max_wait_ms=0)
    assert signature.batch == cog._marks.BatchSettings(4, 0)
    text, times = signature.parameters
    assert (text.batched, text.shape.kind, text.required) == (True, Kind.STRING, True)
    assert (times.batched, times.shape.kind, times.default) == (False, Kind.INTEGER, 1)
    assert signature.output.shape.kind is Kind.STRING
    assert not signature.is_generator


def test_the_schema_is_that_of_one_prediction():
    @cog.batch(max_size=2)
    def one(image: Batch[Path], scores: Batch[list[float]]) -> Batch[dict]:
        raise AssertionError

    def plain(image: Path, scores: list[float]) -> dict:
        raise AssertionError

    assert openapi_schema(inspect_callable(one)) == openapi_schema(inspect_callable(plain))


def test_marks_and_annotations_are_found_behind_decorators_and_metadata():
    import functools

    @functools.wraps(simple)
    def wrapped(*args, **kwargs):
        return simple(*args, **kwargs)

    assert batched(wrapped).parameters[0].batched

    def noted(text: Annotated[Batch[str], "words"]) -> Annotated[Batch[str], "more words"]:
        raise AssertionError

    assert batched(noted).parameters[0].batched


async def asynchronous(text: Batch[str]) -> Batch[str]:
    return text


def yields(text: Batch[str]) -> Batch[str]:
    yield text


def iterates(text: Batch[str]) -> Iterator[str]:
    raise AssertionError


async def iterates_async(text: Batch[str]) -> AsyncIterator[str]:
    yield text


def one_output(text: Batch[str]) -> list[str]:
    return list(text)


def bare_output(text: Batch[str]) -> Batch:
    return text


def no_batch(text: list[str]) -> Batch[str]:
    return Batch(text)


def bare(text: Batch) -> Batch[str]:
    return text


def inside(text: Batch[str], more: list[Batch[str]]) -> Batch[str]:
    return text


def shared_file(text: Batch[str], image: Path) -> Batch[str]:
    return text


def shared_secret(text: Batch[str], key: Secret) -> Batch[str]:
    return text


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (asynchronous, "@concurrent"),
        (yields, "this one yields"),
        (iterates, "an Iterator cannot be one"),
        (iterates_async, "an Iterator cannot be one"),
        (one_output, "annotate it Batch"),
        (bare_output, "return annotation: Batch alone"),
        (no_batch, "needs a parameter"),
        (bare, "parameter 'text': Batch alone"),
        (inside, "parameter 'more'"),
        (shared_file, "parameter 'image': .* annotate it Batch\\[Path\\]"),
        (shared_secret, "parameter 'key': .* annotate it Batch\\[Secret\\]"),
    ],
)
def test_what_a_batch_cannot_be_is_refused_with_the_reason(function, says):
    with pytest.raises(ContractError, match=says):
        batched(function)


def test_limits_of_the_platform_and_of_sense():
    with pytest.raises(ContractError, match="over the limit of 256"):
        batched(simple, max_size=257)
    with pytest.raises(ContractError, match="over the limit of 1000"):
        batched(simple, max_wait_ms=1001)
    for settings in ({"max_size": 0}, {"max_size": 1.5}, {"max_size": 2, "max_wait_ms": -1}):
        with pytest.raises(ValueError, match="takes a whole number"):
            cog.batch(**settings)


def test_batch_annotations_need_the_decorator():
    def marked(text: Batch[str]) -> str:
        raise AssertionError

    with pytest.raises(ContractError, match=r"parameter 'text': Batch\[\.\.\.\] is for functions under @batch"):
        inspect_callable(marked)


def test_a_training_is_no_batch(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "batch_entry.py").write_text(SOURCE)
    assert load_predictor("batch_entry.py:entry", tmp_path).signature.batch.max_size == 4
    with pytest.raises(ContractError, match="trainings run one at a time"):
        load_train("batch_entry.py:entry", tmp_path)
    with pytest.raises(ContractError, match="trainings run one at a time"):
        load_signature("batch_entry.py:entry", tmp_path, train=True)


def test_arguments_are_lists_of_one_value_a_prediction():
    signature = batched(simple)
    inputs = [build_kwargs(signature, {"text": text, "times": 2}) for text in "ab"]
    arguments = batches.arguments(signature.parameters, inputs)
    assert arguments == {"text": ["a", "b"], "times": 2}
    assert simple(**arguments) == ["aa", "bb"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"times": 1}, True),
        ({}, {"times": None}, True),
        ({"times": 2}, {"times": 2, "text": "x"}, True),
        ({"times": 1}, {"times": 2}, False),
        ({"times": 1}, {"times": True}, False),
    ],
)
def test_what_is_shared_is_compared_as_it_came(one, other, same):
    parameters = [parameter for parameter in batched(simple).parameters if not parameter.batched]
    assert (batches.shared_key(parameters, one) == batches.shared_key(parameters, other)) is same


@dataclass(frozen=True)
class Queued:
    number: int
    key: str
    alone: bool


queues = st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), min_size=1, max_size=30).map(
    lambda pairs: [Queued(number, key, alone) for number, (key, alone) in enumerate(pairs)]
)


@given(queues, st.integers(1, 8))
def test_a_call_takes_the_first_and_as_many_like_it_as_it_may(queue, size):
    chosen = batches.choose(queue, size)
    assert chosen[0] is queue[0]
    assert len({each.key for each in chosen}) == 1
    assert chosen == sorted(chosen, key=lambda each: each.number)
    if chosen[0].alone:
        assert len(chosen) == 1
    else:
        like_it = [each for each in queue if each.key == chosen[0].key and not each.alone]
        assert chosen == like_it[:size]


@given(queues, st.integers(1, 8))
def test_calls_serve_all_and_the_first_in_line_never_waits_for_a_later_one(queue, size):
    served, left = [], list(queue)
    while left:
        chosen = batches.choose(left, size)
        served += chosen
        left = [each for each in left if each not in chosen]
    assert sorted(each.number for each in served) == [each.number for each in queue]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (["a"], "called for 2 predictions and returned 1 outputs"),
        ("ab", "not str"),
        ({"a": 1, "b": 2}, "not dict"),
        (None, "not NoneType"),
        (iter("ab"), "not str_"),
    ],
)
def test_a_return_value_is_one_output_a_prediction(value, says):
    with pytest.raises(ContractError, match=says):
        batches.outputs_of(value, 2)


def test_tuples_and_arrays_are_outputs_too():
    import numpy as np

    assert batches.outputs_of(("a", "b"), 2) == ["a", "b"]
    assert batches.outputs_of(np.array([1.0, 2.0]), 2) == [1.0, 2.0]


def test_the_example_of_the_documentation_is_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    page = (Path(__file__).resolve().parents[4] / "docs" / "batching.md").read_text()
    (tmp_path / "documented.py").write_text(re.split(r"```python.*\n", page)[1].split("```")[0])
    signature = load_signature("documented.py:Predictor", tmp_path)
    assert signature.batch == cog._marks.BatchSettings(32, 5)
    assert [(parameter.name, parameter.batched) for parameter in signature.parameters] == [
        ("text", True),
        ("scale", False),
    ]
