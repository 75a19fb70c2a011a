"""Reads a signature from a model's source without running it, if the import needs a GPU or the network: a push has
none.

It understands literals, the names of `cog` and `typing`, and the module's constants; any other annotation becomes Any,
any other default none. The result is a guess, which the first boot replaces. Parsing hostile source can crash the
interpreter: run it in a child, never in a worker.
"""

import ast
import collections.abc
import dataclasses
import inspect
import io
import operator
import pathlib
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import cog
from cog.input import FieldInfo
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection.callables import inspect_callable
from tidemill.model.introspection.signature import Signature

GUESSED: Final = "x-tidemill-guessed"  # key in a schema: the reason why it was guessed
SOURCE_LIMIT_BYTES: Final = 1024 * 1024  # a predict.py has 50 KiB at most

# Error texts that mean: there is no GPU, or no network.
_GPU_OR_NETWORK: Final = re.compile(
    r"cuda|nvidia|nvml|\bgpus?\b|\brocm\b|network is unreachable|name resolution|name or service not known"
    r"|connection (refused|error)|ConnectionError|URLError|gaierror|LocalEntryNotFound|OfflineMode|ConnectTimeout",
    re.IGNORECASE,
)
_UNKNOWN: Final = object()  # an unknown value
_NAMES: Final[dict[str, Any]] = {
    **{name: getattr(typing, name) for name in typing.__all__},
    **{name: getattr(collections.abc, name) for name in ("Iterator", "AsyncIterator", "Generator", "AsyncGenerator")},
    **{name: getattr(cog, name) for name in cog.__all__},
    **{kind.__name__: kind for kind in (str, int, float, bool, list, dict, tuple, set, object)},
    "PosixPath": pathlib.PosixPath,
    "BytesIO": io.BytesIO,
    "StringIO": io.StringIO,
}
_MARKS: Final[dict[str, Callable[..., Any]]] = {"concurrent": cog.concurrent, "batch": cog.batch}
_FIELDS: Final = frozenset(field.name for field in dataclasses.fields(FieldInfo))
_MODULES: Final = frozenset({"cog", "typing", "t", "pathlib", "io", "collections", "abc"})
_COPIES: Final[dict[str, Callable[[Any], Any]]] = {"list": list, "tuple": tuple, "sorted": sorted, "set": set}


def needs_gpu_or_network(error: BaseException | None) -> bool:
    """Return whether an import failed without a GPU or the network, so that it may succeed where the model runs."""
    while error is not None:
        if isinstance(error, ContractError | SyntaxError | ModuleNotFoundError):
            return False
        if _GPU_OR_NETWORK.search(f"{type(error).__name__}: {error}"):
            return True
        error = error.__cause__ or error.__context__
    return False


def read_signature(entry: str, directory: Path, names: tuple[str, ...]) -> Signature:
    """Return the signature of the entry's function, or of its method with one of `names`. Raise ContractError."""
    file, _, name = entry.rpartition(":")
    source = (directory / file).read_bytes()
    if len(source) > SOURCE_LIMIT_BYTES:
        raise ContractError(f"{file} is over {SOURCE_LIMIT_BYTES} bytes")
    module = ast.parse(source)
    found = next((node for node in reversed(module.body) if getattr(node, "name", None) == name), None)
    is_method = isinstance(found, ast.ClassDef)
    if isinstance(found, ast.ClassDef):
        found = next((node for node in found.body if getattr(node, "name", None) in names), None)
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        raise ContractError(f"{file} defines no {name!r} with {' or '.join(f'{each}()' for each in names)}")
    return _ModuleSource(module).signature(found, skip_first=is_method and not _is_static(found))


def _is_static(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)


class _ModuleSource:
    """The constants of one module, and the values of its expressions."""

    def __init__(self, module: ast.Module) -> None:
        self._constants: dict[str, Any] = {}
        for node in module.body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._constants[node.targets[0].id] = self._value(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self._constants[node.target.id] = self._value(node.value)

    def signature(self, function: ast.FunctionDef | ast.AsyncFunctionDef, *, skip_first: bool) -> Signature:
        """Inspect a stand-in function of the same kind, with the same annotations and defaults."""
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        first = len(positional) - len(arguments.defaults)
        defaults = [None] * first + list(arguments.defaults)
        pairs = [
            *zip(positional, defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        parameters = [self._parameter(argument, default) for argument, default in pairs[skip_first:]]
        output = Any if function.returns is None else self._annotation(function.returns)
        stand_in = _stand_in(function)
        stand_in.__name__ = function.name
        stand_in.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": output}
        stand_in.__signature__ = inspect.Signature(parameters)
        for decorator in function.decorator_list:
            self._mark(stand_in, decorator)
        return inspect_callable(stand_in)

    def _parameter(self, argument: ast.arg, default: ast.expr | None) -> inspect.Parameter:
        annotation = Any if argument.annotation is None else self._annotation(argument.annotation)
        given = inspect.Parameter.empty if default is None else self._default(default)
        return inspect.Parameter(argument.arg, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=annotation)

    def _default(self, node: ast.expr) -> Any:
        """Return an Input with its known arguments, or the value; None for an unknown value."""
        if isinstance(node, ast.Call) and _last_name(node.func) == "Input":
            known = {each.arg: self._value(each.value) for each in node.keywords if each.arg is not None}
            if known.get("default") is _UNKNOWN:
                known["default"] = None
            if node.args:
                known["default"] = self._value(node.args[0])
            return cog.Input(
                **{name: value for name, value in known.items() if value is not _UNKNOWN and name in _FIELDS}
            )
        value = self._value(node)
        return None if value is _UNKNOWN else value

    def _annotation(self, node: ast.expr) -> Any:
        value = self._value(node, annotation=True)
        return Any if value is _UNKNOWN else value

    def _mark(self, function: Any, decorator: ast.expr) -> None:
        """Apply the decorators of cog that only set a mark."""
        if not isinstance(decorator, ast.Call):
            if _last_name(decorator) == "streaming":
                cog.streaming(function)
            return
        known = {each.arg: self._value(each.value) for each in decorator.keywords if each.arg is not None}
        name = _last_name(decorator.func)
        if name in _MARKS and not any(value is _UNKNOWN for value in known.values()):
            _MARKS[name](**known)(function)

    def _value(self, node: ast.expr, *, annotation: bool = False) -> Any:
        """Return the value of an expression, or _UNKNOWN."""
        try:
            return self._evaluated(node, annotation=annotation)
        except (_UnknownError, TypeError, ValueError, KeyError, AttributeError, SyntaxError):
            return _UNKNOWN

    def _evaluated(self, node: ast.expr, *, annotation: bool) -> Any:  # noqa: PLR0911 - one line for each kind of node
        if isinstance(node, ast.Constant):
            if annotation and isinstance(node.value, str):
                return self._evaluated(ast.parse(node.value, mode="eval").body, annotation=True)
            return node.value
        if isinstance(node, ast.Name | ast.Attribute):
            return self._named(node)
        if isinstance(node, ast.Subscript):
            inner = annotation and _last_name(node.value) != "Literal"
            item = self._evaluated(node.slice, annotation=inner)
            return self._evaluated(node.value, annotation=annotation)[item]
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            values = [self._evaluated(each, annotation=annotation) for each in node.elts]
            return values if isinstance(node, ast.List) else tuple(values)
        if isinstance(node, ast.Dict):
            keys = [self._evaluated(key, annotation=False) for key in node.keys if key is not None]
            values = [self._value(value) for value in node.values]  # only the keys are used, as choices
            return dict(zip(keys, values, strict=False))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and annotation:
            left, right = (self._evaluated(each, annotation=True) for each in (node.left, node.right))
            return typing.Union[left, right]  # noqa: UP007 - of values
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return operator.neg(self._evaluated(node.operand, annotation=False))
        if isinstance(node, ast.Call):
            return self._called(node)
        raise _UnknownError

    def _named(self, node: ast.Name | ast.Attribute) -> Any:
        if isinstance(node, ast.Name) and node.id in self._constants:
            value = self._constants[node.id]
        elif isinstance(node, ast.Attribute) and not set(_names(node.value)) <= _MODULES:
            raise _UnknownError
        else:
            value = _NAMES.get(_last_name(node), _UNKNOWN)
        if value is _UNKNOWN:
            raise _UnknownError
        return value

    def _called(self, node: ast.Call) -> Any:
        """Evaluate `X.keys()` and copies such as `list(X)`."""
        if isinstance(node.func, ast.Attribute) and node.func.attr == "keys":
            return list(self._evaluated(node.func.value, annotation=False))
        copy = _COPIES.get(_last_name(node.func))
        if copy is None or len(node.args) != 1:
            raise _UnknownError
        return copy(self._evaluated(node.args[0], annotation=False))


class _UnknownError(Exception):
    """The value of the expression is known only when it runs."""


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _names(node: ast.expr) -> Iterator[str]:
    """Yield the parts of a.b.c; an empty text for any other expression."""
    while isinstance(node, ast.Attribute):
        yield node.attr
        node = node.value
    yield node.id if isinstance(node, ast.Name) else ""


def _stand_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Any:
    """Return a function that is asynchronous or a generator if the given one is."""
    yields = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own_nodes(function))
    if isinstance(function, ast.AsyncFunctionDef):
        return _asynchronous_items() if yields else _asynchronous()
    return _items() if yields else _plain()


def _own_nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def _plain() -> Any:
    def stand_in(**_: Any) -> Any: ...

    return stand_in


def _asynchronous() -> Any:
    async def stand_in(**_: Any) -> Any: ...

    return stand_in


def _items() -> Any:
    def stand_in(**_: Any) -> Any:
        yield

    return stand_in


def _asynchronous_items() -> Any:
    async def stand_in(**_: Any) -> Any:
        yield

    return stand_in
