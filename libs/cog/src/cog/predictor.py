"""The base classes of a model. They hold no state, so that a subclass needs no `super().__init__()`."""

from typing import Any

from cog._scope import Scope, current_scope


class BaseRunner:
    """Subclass it and define `run()` (or `predict()`), and `setup()` where there is something to prepare."""

    def setup(self, weights: Any = None) -> Any:
        """Runs once, before the first prediction; a subclass may make it async and may leave `weights` out."""

    @property
    def scope(self) -> Scope:
        return current_scope()

    def record_metric(self, key: str, value: Any, mode: str = "replace") -> None:
        """Records a metric of the running prediction; `mode` is "replace", "incr" or "append"."""
        current_scope().record_metric(key, value, mode)


class BasePredictor(BaseRunner):
    """The older name; its subclasses usually define `predict()`."""
