"""Reads the signature of a model's function from its annotations and defaults; it never calls the function.

It unwraps decorators that use `functools.wraps`, such as `torch.inference_mode`. Every error is a ContractError that
names the parameter.
"""

import collections.abc
import inspect
import math
import re
import typing
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import cog
from cog._marks import BATCH_MARK, CONCURRENCY_MARK, STREAMING_MARK
from cog.input import MISSING, FieldInfo
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection import batches
from tidemill.model.introspection.annotations import AnnotationReader, shape_of
from tidemill.model.introspection.shapes import Kind, Shape, choice_of, describe
from tidemill.model.introspection.signature import CONCATENATE, ITERATOR, OutputSignature, Parameter, Signature

CONCATENATING: Final = frozenset({cog.ConcatenateIterator, cog.AsyncConcatenateIterator})
ASYNC_ITERATORS: Final = frozenset(
    {
        cog.AsyncConcatenateIterator,
        collections.abc.AsyncIterator,
        collections.abc.AsyncGenerator,
        collections.abc.AsyncIterable,
    }
)
ITERATORS: Final = ASYNC_ITERATORS | {
    cog.ConcatenateIterator,
    collections.abc.Iterator,
    collections.abc.Generator,
}

TEXTS: Final = frozenset({Kind.STRING, Kind.SECRET})
NUMBERS: Final = frozenset({Kind.INTEGER, Kind.NUMBER})
CHOOSABLE: Final = frozenset({Kind.STRING, Kind.INTEGER, Kind.NUMBER, Kind.CHOICE})
MIXED: Final = frozenset({Kind.ANY, Kind.UNION, Kind.OBJECT, Kind.CODED})  # their values may have limits


def inspect_callable(function: Callable[..., Any], *, skip_first: bool = False) -> Signature:
    """Return the signature of `run`, `predict` or `train`. Raise ContractError.

    `skip_first` leaves out `self`, for a function of a class that is not instantiated.
    """
    name = getattr(function, "__name__", type(function).__name__)
    try:
        return _inspect(function, name, skip_first=skip_first)
    except ContractError as error:
        raise error.within(f"{name}()") from error.__cause__


def _inspect(function: Callable[..., Any], name: str, *, skip_first: bool) -> Signature:
    inner = inspect.unwrap(function)
    hints = _hints(inner)
    declared = list(inspect.signature(function).parameters.values())[skip_first:]
    if "return" not in hints:
        raise ContractError("the return annotation is missing; use Any where the output can be anything")
    settings = _mark(function, BATCH_MARK, default=None)
    output = _output(hints["return"] if settings is None else batches.output_item(hints["return"]))
    generates = inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
    if generates and settings is None and output.iteration is None and output.shape.kind is not Kind.ANY:
        raise ContractError(
            f"it yields values, but its return annotation is {describe(output.shape)}; "
            f"annotate it Iterator[{describe(output.shape)}]"
        )
    asynchronous = inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
    signature = Signature(
        name=name,
        parameters=tuple(_parameter(parameter, hints) for parameter in declared),
        output=output,
        is_async=asynchronous or _origin(hints["return"]) in ASYNC_ITERATORS,
        is_generator=generates or output.iteration is not None,
        streaming=bool(_mark(function, STREAMING_MARK, default=False)),
        concurrency=int(_mark(function, CONCURRENCY_MARK, default=1)),
        batch=settings,
    )
    batches.check(signature)
    if signature.concurrency > 1 and not signature.is_async:
        raise ContractError(f"@concurrent(max={signature.concurrency}) needs `async def {name}`")
    return signature


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise ContractError(f"its annotations cannot be resolved: {error}") from error


def _parameter(declared: inspect.Parameter, hints: dict[str, Any]) -> Parameter:
    try:
        return _read_parameter(declared, hints)
    except ContractError as error:
        raise error.within(f"parameter {declared.name!r}") from error.__cause__


def _read_parameter(declared: inspect.Parameter, hints: dict[str, Any]) -> Parameter:
    if declared.kind in {declared.VAR_POSITIONAL, declared.VAR_KEYWORD, declared.POSITIONAL_ONLY}:
        raise ContractError(
            "every input needs a name of its own, so *args, **kwargs and positional-only parameters are not "
            "allowed (a decorator must use functools.wraps)"
        )
    if declared.name not in hints:
        raise ContractError("its type annotation is missing")
    info = declared.default
    if not isinstance(info, FieldInfo):
        info = FieldInfo(default=MISSING if info is declared.empty else info)
    item = batches.item_of(hints[declared.name])
    shape = shape_of(hints[declared.name] if item is None else item)
    if info.choices is not None:
        shape = _with_choices(shape, info.choices)
    _check_limits(shape, info)
    return Parameter(declared.name, shape, info.default, info, batched=item is not None)


def _with_choices(shape: Shape, choices: Iterable[Any]) -> Shape:
    """Return the shape restricted to `choices`. For a list, the items are restricted."""
    if shape.kind is Kind.LIST and shape.item is not None:
        return replace(shape, item=_with_choices(shape.item, choices))
    if shape.kind not in CHOOSABLE:
        raise ContractError(f"choices are for str, int and float (and lists of them), not {describe(shape)}")
    choice = choice_of(choices)
    types = {Kind.STRING: str, Kind.INTEGER: int, Kind.NUMBER: (int, float)}.get(shape.kind, object)
    for value in choice.values:
        if not isinstance(value, types):  # type: ignore[arg-type]  # mypy loses the tuple among classes
            raise ContractError(f"choice {value!r} is not of type {describe(shape)}")
    return replace(choice, nullable=shape.nullable or choice.nullable, python=shape.python)


def _check_limits(shape: Shape, info: FieldInfo) -> None:
    kinds = {shape.kind} if shape.kind is not Kind.CHOICE else NUMBERS | TEXTS
    limits = {"ge": info.ge, "le": info.le}
    for name, limit in limits.items():
        if limit is not None and not kinds & (NUMBERS | MIXED):
            raise ContractError(f"{name} is for int and float, not {describe(shape)}")
        if limit is not None and not math.isfinite(limit):
            raise ContractError(f"{name} must be a finite number")
    lengths = info.min_length is not None or info.max_length is not None
    if lengths and not kinds & (TEXTS | MIXED | {Kind.LIST}):
        raise ContractError(f"min_length and max_length are for str and lists, not {describe(shape)}")
    if info.regex is not None:
        if not kinds & (TEXTS | MIXED):
            raise ContractError(f"regex is for str, not {describe(shape)}")
        _check_regex(info.regex)


def _check_regex(regex: str) -> None:
    try:
        re.compile(regex)
    except re.error as error:
        raise ContractError(f"regex {regex!r} is not a regular expression: {error}") from error


def _output(annotation: Any) -> OutputSignature:
    try:
        return _read_output(annotation)
    except ContractError as error:
        raise error.within("return annotation") from error.__cause__


def _read_output(annotation: Any) -> OutputSignature:
    origin = _origin(annotation)
    if origin not in ITERATORS:
        return OutputSignature(shape_of(annotation, output=True))
    arguments = typing.get_args(annotation)
    if origin not in CONCATENATING:
        return OutputSignature(
            AnnotationReader(output=True).shape(arguments[0]) if arguments else Shape(Kind.ANY), ITERATOR
        )
    item = shape_of(arguments[0], output=True) if arguments else Shape(Kind.STRING)
    if item.kind is not Kind.STRING:
        raise ContractError(f"a concatenating iterator yields str, not {describe(item)}; use Iterator")
    return OutputSignature(item, CONCATENATE)


def _origin(annotation: Any) -> Any:
    return typing.get_origin(annotation) or (annotation if isinstance(annotation, type) else None)


def _mark(function: Any, name: str, *, default: Any) -> Any:
    """Return a decorator's mark from any function in the chain of wrappers."""
    while function is not None:
        found = getattr(function, name, None)
        if found is not None:
            return found
        function = getattr(function, "__wrapped__", None)
    return default
