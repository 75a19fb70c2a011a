"""Loads a model's entry ("predict.py:Predictor") and finds the functions that the child calls.

The caller has changed to the model's directory and runs in the model's environment. Import and instantiation run the
author's code and may raise anything; this module itself raises ContractError only.
"""

import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cog
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection.annotations import shape_of
from tidemill.model.introspection.callables import inspect_callable
from tidemill.model.introspection.shapes import Kind
from tidemill.model.introspection.signature import Signature

__all__ = ["ContractError", "LoadedModel", "load_predictor", "load_signature", "load_train", "setup_arguments"]

PREDICT_NAMES: Final = ("run", "predict")  # the new and the old name in Cog
TRAIN_NAMES: Final = ("train",)


@dataclass(frozen=True)
class LoadedModel:
    target: Any  # the instance, or the function
    call: Callable[..., Any]
    setup: Callable[..., Any] | None  # call it with **setup_arguments(loaded, weights); may be async
    healthcheck: Callable[[], Any] | None  # may be async
    signature: Signature
    is_async: bool
    is_generator: bool
    concurrency: int


def load_predictor(entry: str, directory: Path) -> LoadedModel:
    """Import the entry and make its instance; do not run its setup."""
    return _load(entry, directory, PREDICT_NAMES)


def load_train(entry: str, directory: Path) -> LoadedModel:
    """Import the training entry: a function, or a class with `train()` and possibly `setup()`."""
    return _load(entry, directory, TRAIN_NAMES)


def load_signature(entry: str, directory: Path, *, train: bool = False) -> Signature:
    """Import the entry and read its signature without making an instance, as a push does."""
    found = _find(entry, directory)
    names = TRAIN_NAMES if train else PREDICT_NAMES
    with _ErrorLocation(entry):
        if not isinstance(found, type):
            return _checked(inspect_callable(found), names)
        _check_constructor(found)
        _check_setup(found)
        name = _method_name(found, names)
        unbound = inspect.isfunction(getattr(found, name))
        static = isinstance(inspect.getattr_static(found, name), staticmethod)
        return _checked(inspect_callable(getattr(found, name), skip_first=unbound and not static), names)


def setup_arguments(loaded: LoadedModel, weights: str | None) -> dict[str, Any]:
    """Return the keyword arguments for `loaded.setup`: `weights`, converted to its annotation, if it has this
    parameter.

    `weights` is a path or a URL; a `Path` parameter gets a `URLPath` for a URL.
    """
    if loaded.setup is None or "weights" not in inspect.signature(loaded.setup).parameters:
        return {}
    if weights is None:
        return {"weights": None}
    kind = _weights_kind(loaded.setup)
    is_url = weights.startswith(("http://", "https://", "data:"))
    if kind is Kind.PATH:
        return {"weights": cog.Path.validate(weights) if is_url else cog.Path(weights)}
    if kind is Kind.FILE:
        return {"weights": cog.File.validate(weights) if is_url else Path(weights).open("rb")}
    return {"weights": weights}


def _load(entry: str, directory: Path, names: tuple[str, ...]) -> LoadedModel:
    found = _find(entry, directory)
    with _ErrorLocation(entry):
        if isinstance(found, type):
            name = _method_name(found, names)
            _check_constructor(found)
            target = found()
            call = getattr(target, name)
            signature = _checked(inspect_callable(call), names)
            return _loaded(target, call, signature, _setup_of(target), getattr(target, "healthcheck", None))
        return _loaded(found, found, _checked(inspect_callable(found), names), None, None)


def _checked(signature: Signature, names: tuple[str, ...]) -> Signature:
    if signature.batch is not None and names == TRAIN_NAMES:
        raise ContractError(f"{signature.name}(): @batch is for predictions; trainings run one at a time")
    return signature


def _loaded(target: Any, call: Any, signature: Signature, setup: Any, healthcheck: Any) -> LoadedModel:
    return LoadedModel(
        target=target,
        call=call,
        setup=setup,
        healthcheck=healthcheck if callable(healthcheck) else None,
        signature=signature,
        is_async=signature.is_async,
        is_generator=signature.is_generator,
        concurrency=signature.concurrency,
    )


class _ErrorLocation:
    """Adds the entry to the message of a ContractError."""

    def __init__(self, entry: str) -> None:
        self._entry = entry

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ContractError):
            raise error.within(self._entry) from error.__cause__


def _find(entry: str, directory: Path) -> Any:
    """Import the module and return the class or function that the entry names."""
    file, separator, name = entry.rpartition(":")
    if not separator or not file.endswith(".py") or not name.isidentifier():
        raise ContractError(f"{entry!r} is not of the form file.py:Name")
    path = _inside(directory, file)
    module = _import(path, directory)
    found = getattr(module, name, None)
    if found is None:
        raise ContractError(f"{file} defines no {name!r}; {_candidates(module)}")
    if not isinstance(found, type) and not inspect.isroutine(found):
        raise ContractError(f"{entry}: {name} is neither a class nor a function")
    return found


def _inside(directory: Path, file: str) -> Path:
    root = directory.resolve()
    path = (root / file).resolve()
    if not path.is_relative_to(root):
        raise ContractError(f"{file} is outside the model's directory")
    if not path.is_file():
        raise ContractError(f"{file} does not exist in the model's directory")
    return path


def _import(path: Path, directory: Path) -> types.ModuleType:
    """Import the file as the module of its name, with the model's directory first on sys.path."""
    name = path.stem
    if name in sys.stdlib_module_names or name in {"cog", "tidemill"}:
        raise ContractError(f"{path.name} would hide the module {name!r} that is already in use; rename the file")
    root = os.fspath(directory.resolve())
    if root not in sys.path:
        sys.path.insert(0, root)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ContractError(f"{path.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: pickle and dataclasses look it up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _candidates(module: types.ModuleType) -> str:
    """Suggest what the author may have meant."""
    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and any(hasattr(value, method) for method in (*PREDICT_NAMES, *TRAIN_NAMES))
    ]
    return f"did you mean {' or '.join(names)}?" if names else "it defines no class with run(), predict() or train()"


def _method_name(cls: type, names: tuple[str, ...]) -> str:
    present = [name for name in names if callable(getattr(cls, name, None))]
    wanted = " or ".join(f"{name}()" for name in names)
    if not present:
        raise ContractError(f"class {cls.__name__} defines no {wanted}")
    if len(present) > 1:
        raise ContractError(f"class {cls.__name__} defines both {' and '.join(present)}; keep one of them")
    return present[0]


def _setup_of(target: Any) -> Callable[..., Any] | None:
    """Return the bound setup, or None if the class inherits the empty one."""
    found: Any = getattr(target, "setup", None)
    if not callable(found) or getattr(type(target), "setup", None) is cog.BaseRunner.setup:
        return None
    setup: Callable[..., Any] = found
    _check_setup(type(target))
    return setup


def _check_setup(cls: type) -> None:
    setup: Any = getattr(cls, "setup", None)
    if not callable(setup):
        return
    bound = isinstance(inspect.getattr_static(cls, "setup"), (staticmethod, classmethod))
    for name in _required(setup)[0 if bound else 1 :]:
        if name != "weights":
            raise ContractError(f"setup(): parameter {name!r}: setup takes nothing but self and weights")


def _check_constructor(cls: type) -> None:
    for name in _required(cls):
        raise ContractError(f"{cls.__name__}(): parameter {name!r}: it is made without arguments; use setup()")


def _required(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # made by C code without a signature
        return []
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [each.name for each in parameters if each.default is each.empty and each.kind not in variadic]


def _weights_kind(setup: Callable[..., Any]) -> Kind:
    """Return the kind that the annotation of `weights` asks for; STRING if it is missing or ambiguous."""
    try:
        hints = inspect.get_annotations(inspect.unwrap(setup), eval_str=True)
        return shape_of(hints.get("weights", str), output=True).kind
    except (ContractError, NameError, TypeError, AttributeError, SyntaxError):
        return Kind.STRING
