"""The scope of the running prediction: its metrics and its context.

The child sets one scope per prediction with `set_scope`; without a scope, recording does nothing. A scope checks and
forwards what the model records. It never aggregates: the worker does, from the same messages.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

Sink = Callable[[str, Any, str], None]  # key, value (None deletes), mode

MODES: Final = ("replace", "incr", "append")
NAME_LIMIT_CHARS: Final = 128  # names are stored and shown with every prediction
NAME_LIMIT_SEGMENTS: Final = 4  # dots become nested objects in the API's JSON; deeper trees are data, not metrics
SEGMENT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


class Metrics:
    """The metrics that the model has recorded for one prediction; keys are dotted names."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self._values: dict[str, Any] = {}

    def record(self, key: str, value: Any, mode: str = "replace") -> None:
        """Record a JSON value. Raise ValueError for a bad name, mode or number, TypeError for a bad type."""
        if value is None:
            self.delete(key)
            return
        if self._sink is not None:
            check_name(key)
            value = _plain(key, value)
            self._check_nesting(key)
        combined = _combine(key, self._values.get(key), value, mode)
        self._values[key] = combined
        if self._sink is not None:
            self._sink(key, value, mode)

    def delete(self, key: str) -> None:
        """Delete a metric. A later value may have another type."""
        if self._values.pop(key, None) is not None and self._sink is not None:
            self._sink(key, None, "replace")

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.record(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        self.delete(key)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _check_nesting(self, key: str) -> None:
        """Raise ValueError if one metric would be inside another, as with `a` and `a.b`."""
        if key in self._values:
            return
        for other in self._values:
            if other.startswith(f"{key}.") or key.startswith(f"{other}."):
                raise ValueError(f"metric {key!r} and metric {other!r} cannot both be: one would be inside the other")


class Scope:
    """Context and metrics of a prediction. `context` comes from the request; its values are strings."""

    def __init__(self, context: Mapping[str, str] | None = None, sink: Sink | None = None) -> None:
        self.context: dict[str, str] = dict(context or {})
        self.metrics = Metrics(sink)

    @property
    def batch(self) -> "tuple[Scope, ...]":
        """The scopes of the predictions that share this call, in order; without `@cog.batch` only this one."""
        return (self,)

    def record_metric(self, key: str, value: Any, mode: str = "replace") -> None:
        self.metrics.record(key, value, mode)


class BatchScope(Scope):
    """The scope of one call for several predictions. A metric counts for each of them. Its context is empty."""

    def __init__(self, scopes: Sequence[Scope]) -> None:
        def record_for_each(key: str, value: Any, mode: str) -> None:
            for scope in scopes:
                scope.record_metric(key, value, mode)

        super().__init__(sink=record_for_each)
        self._scopes = tuple(scopes)

    @property
    def batch(self) -> tuple[Scope, ...]:
        return self._scopes


_current: ContextVar[Scope | None] = ContextVar("cog_scope", default=None)


def set_scope(scope: Scope | None) -> None:
    """Set the scope of the current context, or remove it with None. The runtime passes it on to threads."""
    _current.set(scope)


def installed_scope() -> Scope | None:
    """Return the scope of the running prediction, None outside one."""
    return _current.get()


def current_scope() -> Scope:
    """Return the scope of the running prediction. Outside one, return a scope without effect."""
    return _current.get() or Scope()


def emit_metric(name: str, value: Any) -> None:
    """The older name of `current_scope().record_metric(name, value)`."""
    current_scope().record_metric(name, value)


def check_name(key: str) -> None:
    """Raise ValueError if `key` is no valid name of a metric."""
    segments = key.split(".")
    if len(key) > NAME_LIMIT_CHARS or len(segments) > NAME_LIMIT_SEGMENTS:
        raise ValueError(
            f"metric name {key[:NAME_LIMIT_CHARS]!r} is over {NAME_LIMIT_CHARS} characters "
            f"or {NAME_LIMIT_SEGMENTS} dotted parts"
        )
    if not all(SEGMENT.match(segment) for segment in segments):
        raise ValueError(f"metric name {key!r}: each dotted part is a letter, then letters, digits and underscores")
    if key == "predict_time" or segments[0] == "cog":
        raise ValueError(f"metric name {key!r} is reserved")


def _plain(key: str, value: Any) -> Any:
    """Return a JSON value. numpy and torch scalars become Python numbers."""
    if not isinstance(value, (bool, int, float, str, list, dict)) and callable(getattr(value, "item", None)):
        value = value.item()
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except TypeError as error:
        raise TypeError(f"metric {key!r}: {error}") from None
    except ValueError:
        raise ValueError(f"metric {key!r} is not a finite number (or refers to itself)") from None


def _combine(key: str, old: Any, new: Any, mode: str) -> Any:
    if mode not in MODES:
        raise ValueError(f"metric mode {mode!r} is not one of {', '.join(MODES)}")
    if mode == "append":
        if old is not None and not isinstance(old, list):
            raise TypeError(f"metric {key!r} is not a list that could be appended to")
        return [*(old or []), new]
    if old is not None and _family(old) != _family(new):
        raise TypeError(f"metric {key!r} is a {_family(old)} and cannot become a {_family(new)}; delete it first")
    if mode == "replace":
        return new
    if _family(new) != "number":
        raise TypeError(f"metric {key!r}: only numbers can be incremented")
    return (old or 0) + new


def _family(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else type(value).__name__
