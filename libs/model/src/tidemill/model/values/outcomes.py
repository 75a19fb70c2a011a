"""How one prediction ended: its status with the encoded output, or with an error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidemill.model.errors import exceptions
from tidemill.model.introspection.shapes import Shape
from tidemill.model.values.encode import OutputFile, encode_output

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
OUT_OF_MEMORY: Final = "out_of_memory"  # a failure whose reason helps its caller
CANCELED: Final = "canceled"


@dataclass(frozen=True)
class ModelOutcome:
    status: str
    output: Any = None
    files: Sequence[OutputFile] = ()
    error: str | None = None


CANCELED_OUTCOME: Final = ModelOutcome(CANCELED)
ITERATED_OUTCOME: Final = ModelOutcome(SUCCEEDED, [])  # its items were sent before; the output of an empty iterator


def of_value(value: Any, shape: Shape | None) -> ModelOutcome:
    """Raise OutputError, and what methods of the value raise."""
    output, files = encode_output(value, shape)
    return ModelOutcome(SUCCEEDED, output, files)


def of_error(error: BaseException, *, canceled: bool) -> ModelOutcome:
    """Return a failure, after printing the traceback. A canceled prediction is canceled, whatever the error."""
    if canceled:
        return CANCELED_OUTCOME
    exceptions.print_traceback(error)
    status = OUT_OF_MEMORY if exceptions.is_memory(error) else FAILED
    outcome = ModelOutcome(status, error=exceptions.describe(error))
    exceptions.release_memory(error)
    return outcome
