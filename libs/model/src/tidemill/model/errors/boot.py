"""Boot failures that the model causes: a traceback in the logs for the author, a kind and a message for the worker."""

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


def run_step(kind: str, step: Callable[[], T]) -> T:
    """Run a step of the boot. Raise BootError of this kind, or of kind `contract` for a ContractError."""
    try:
        return step()
    except BaseException as error:  # noqa: BLE001  the boundary to the author's code
        raise boot_error(kind, error) from None


def boot_error(kind: str, error: BaseException) -> BootError:
    """Print the traceback and return the error for the worker."""
    exceptions.print_traceback(error)
    sys.stderr.flush()
    kind = "contract" if isinstance(error, ContractError) else kind
    message = exceptions.describe(error)
    if not isinstance(error, (ContractError, SystemExit, MemoryError)):
        message = f"{type(error).__name__}: {message}" if message != type(error).__name__ else message
    return BootError(kind, message)
