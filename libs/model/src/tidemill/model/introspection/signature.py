"""The signature of a model's function: parameters, output, and how it is called. Data only."""

from dataclasses import dataclass
from typing import Any, Final

from cog._marks import BatchSettings
from cog.input import MISSING, FieldInfo
from tidemill.model.introspection.shapes import Shape

ITERATOR: Final = "iterator"
CONCATENATE: Final = "concatenate"


@dataclass(frozen=True)
class Parameter:
    name: str
    shape: Shape
    default: Any  # MISSING if there is none
    info: FieldInfo
    batched: bool = False  # under @batch: the function gets a list with one value per prediction of the call

    @property
    def required(self) -> bool:
        return self.default is MISSING and not self.shape.nullable

    @property
    def nullable(self) -> bool:
        """Return whether the function may get None: its annotation allows it, or its default is None."""
        return self.shape.nullable or self.default is None


@dataclass(frozen=True)
class OutputSignature:
    """`shape` is that of one emitted value: an item if `iteration` is set, else the whole output."""

    shape: Shape
    iteration: str | None = None  # None, ITERATOR or CONCATENATE


@dataclass(frozen=True)
class Signature:
    name: str
    parameters: tuple[Parameter, ...]
    output: OutputSignature
    is_async: bool
    is_generator: bool
    streaming: bool
    concurrency: int
    batch: BatchSettings | None = None
