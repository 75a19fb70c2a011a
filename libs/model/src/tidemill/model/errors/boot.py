"""How a boot fails by the model's doing: its author reads the traceback in the logs, the worker kind and message."""

import sys
from collections.abc import Callable
from typing import TypeVar

from tidemill.model.errors import exceptions
from tidemill.model.errors.contract import ContractError

T = TypeVar("T")


class BootError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def guarded(kind: str, step: Callable[[], T]) -> T:
    """Runs a step of the model's. Raises BootError of that kind, or of kind `contract`."""
    try:
        return step()
    except BaseException as error:  # noqa: BLE001  the boundary: the author reads it in the logs
        raise boot_error(kind, error) from None


def boot_error(kind: str, error: BaseException) -> BootError:
    exceptions.print_traceback(error)
    sys.stderr.flush()
    kind = "contract" if isinstance(error, ContractError) else kind
    message = exceptions.describe(error)
    if not isinstance(error, (ContractError, SystemExit, MemoryError)):
        message = f"{type(error).__name__}: {message}" if message != type(error).__name__ else message
    return BootError(kind, message)
