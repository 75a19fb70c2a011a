import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import cog
from cog import Input
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection.callables import inspect_callable
from tidemill.model.introspection.load import load_predictor, load_signature, load_train


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def writer(source, name="predict.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return tmp_path

    return writer


def test_a_function_is_an_entry(write):
    root = write("def predict(text: str) -> str:\n    return text\n")
    loaded = load_predictor("predict.py:predict", root)
    assert loaded.call(text="a") == "a"
    assert (loaded.setup, loaded.healthcheck) == (None, None)


def test_the_module_stands_under_its_name_and_sees_its_siblings(write):
    write("VALUE = 7\n", "sibling.py")
    root = write(
        "import sibling\nclass Predictor:\n    def predict(self) -> int:\n        return sibling.VALUE\n",
        "code/main.py",
    )
    loaded = load_predictor("code/main.py:Predictor", root)
    assert loaded.call() == 7
    assert sys.modules["main"].Predictor is type(loaded.target)


def test_any_class_will_do_and_static_methods_too(write):
    root = write("class P:\n    @staticmethod\n    def run(a: int, b: int = 2) -> int:\n        return a + b\n")
    loaded = load_predictor("predict.py:P", root)
    assert loaded.call(a=1, b=2) == 3
    assert [each.name for each in load_signature("predict.py:P", root).parameters] == ["a", "b"]


def test_train_may_be_a_class(write):
    root = write(
        "class T:\n    def setup(self): self.n = 1\n    def train(self, k: int) -> str:\n        return 'x' * k\n"
    )
    loaded = load_train("predict.py:T", root)
    assert loaded.setup is not None
    assert loaded.call(k=2) == "xx"
    assert load_signature("predict.py:T", root, train=True) == loaded.signature


CLASS = "class P:\n    def predict(self{}):\n        return 1\n"


@pytest.mark.parametrize(
    ("source", "entry", "message"),
    [
        ("", "predict.py", "is not of the form file.py:Name"),
        ("", "predict:P", "is not of the form"),
        ("", "missing.py:P", "missing.py does not exist in the model's directory"),
        ("", "../predict.py:P", "outside the model's directory"),
        ("", "predict.py:P", "defines no 'P'; it defines no class with"),
        ("class Q:\n    def run(self): ...\n", "predict.py:P", "did you mean Q?"),
        ("P = 3\n", "predict.py:P", "neither a class nor a function"),
        ("class P:\n    pass\n", "predict.py:P", r"class P defines no run\(\) or predict\(\)"),
        (
            "class P:\n    def run(self): ...\n    def predict(self): ...\n",
            "predict.py:P",
            "defines both run and predict",
        ),
        (CLASS.format(""), "predict.py:P", r"predict.py:P: predict\(\): the return annotation is missing"),
        (CLASS.format(", a: int) -> (None"), "predict.py:P", "return annotation: None alone says nothing"),
        (CLASS.format(", a) -> (int"), "predict.py:P", "parameter 'a': its type annotation is missing"),
        (CLASS.format(", *a: int) -> (int"), "predict.py:P", "parameter 'a': .*functools.wraps"),
        (CLASS.format(", **a: int) -> (int"), "predict.py:P", "parameter 'a': every input needs a name"),
        (CLASS.format(", a: 'Nope') -> (int"), "predict.py:P", "cannot be resolved: name 'Nope'"),
        ("class P:\n    def setup(self, gpu): ...\n    def run(self) -> int: ...\n", "predict.py:P", "setup.*'gpu'"),
        (
            "class P:\n    @classmethod\n    def setup(cls, gpu): ...\n    def run(self) -> int: ...\n",
            "predict.py:P",
            "setup.*'gpu'",
        ),
        (
            "class P:\n    def __init__(self, gpu): ...\n    def run(self) -> int: ...\n",
            "predict.py:P",
            r"P\(\): parameter 'gpu': it is made without arguments",
        ),
    ],
)
def test_contract_errors_say_where_and_at_a_push_already(write, source, entry, message):
    root = write(source)
    for load in (load_predictor, load_signature):
        with pytest.raises(ContractError, match=message):
            load(entry, root)


@pytest.mark.parametrize(
    "setup", ["weights", "weights: str = None", "weights=None, fast=True", "*args, **kwargs", "weights, *rest"]
)
def test_a_setup_that_can_be_called(write, setup):
    methods = ("__init__(self, *, a=1)", f"setup(self, {setup})", "run(self) -> int")
    root = write("class P:\n" + "".join(f"    def {each}: ...\n" for each in methods))
    assert load_predictor("predict.py:P", root).setup is not None
    assert load_signature("predict.py:P", root).name == "run"


def test_a_file_may_not_hide_a_module_in_use(write):
    root = write("", "json.py")
    with pytest.raises(ContractError, match="would hide the module 'json'"):
        load_predictor("json.py:P", root)


def test_the_authors_own_errors_pass_through(write):
    root = write("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError):
        load_predictor("predict.py:P", root)
    assert "predict" not in sys.modules
    write("raise SystemExit(3)\n")
    with pytest.raises(SystemExit):
        load_predictor("predict.py:P", root)
    write("class P:\n    def __init__(self): raise OSError('disk')\n    def run(self) -> int: ...\n")
    with pytest.raises(OSError, match="disk"):
        load_predictor("predict.py:P", root)


def test_an_inherited_empty_setup_is_none(write):
    root = write("import cog\nclass P(cog.BasePredictor):\n    def predict(self) -> int:\n        return 1\n")
    assert load_predictor("predict.py:P", root).setup is None


def test_keyword_only_parameters_are_inputs():
    def predict(*, text: str) -> str: ...

    assert [each.name for each in inspect_callable(predict).parameters] == ["text"]


def test_a_generator_must_say_what_it_yields():
    def predict() -> str:
        yield "a"

    with pytest.raises(ContractError, match=r"annotate it Iterator\[str\]"):
        inspect_callable(predict)


def test_any_covers_a_generator():
    def predict() -> Any:
        yield "a"

    signature = inspect_callable(predict)
    assert signature.is_generator
    assert not signature.is_async


def test_a_plain_function_may_return_an_iterator():
    def predict() -> Iterator[str]:
        return iter("ab")

    assert inspect_callable(predict).is_generator


def test_async_kinds():
    async def coroutine() -> str: ...

    async def generator() -> cog.AsyncConcatenateIterator[str]:
        yield "a"

    def returns_one() -> cog.AsyncConcatenateIterator[str]:
        return generator()

    kinds = [inspect_callable(each) for each in (coroutine, generator, returns_one)]
    assert [each.is_async for each in kinds] == [True, True, True]
    assert [each.is_generator for each in kinds] == [False, True, True]


def test_concurrency_needs_async():
    @cog.concurrent(max=2)
    def predict() -> str: ...

    with pytest.raises(ContractError, match="needs `async def predict`"):
        inspect_callable(predict)


def test_a_concatenating_iterator_yields_text():
    def predict() -> cog.ConcatenateIterator[int]: ...

    with pytest.raises(ContractError, match="yields str, not int"):
        inspect_callable(predict)


def test_torch_decorators_are_looked_through():
    import torch

    class Predictor:
        @cog.streaming
        @torch.inference_mode()
        def predict(self, steps: int = Input(default=3)) -> Iterator[int]:
            yield from range(steps)

        @torch.no_grad()
        async def run(self, steps: int) -> str:
            return "a" * steps

    signature = inspect_callable(Predictor().predict)
    assert [each.default for each in signature.parameters] == [3]
    assert signature.is_generator
    assert signature.streaming
    assert inspect_callable(Predictor().run).is_async
    assert asyncio.run(Predictor().run(steps=2)) == "aa"
