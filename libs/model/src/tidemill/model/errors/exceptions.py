"""What is said about an exception of model code: a line for the caller, the author's frames for the logs.

It must never raise, whatever the exception's own methods do.
"""

import gc
import os
import sys
import traceback
from pathlib import Path
from typing import Final

from cog import CancelationException
from tidemill.model.errors.contract import ContractError, InputError, OutputError

ERROR_LIMIT_CHARS: Final = 4096  # a line for people; long texts (whole tensors) are in the traceback
_OURS: Final = f"{Path(os.path.abspath(__file__)).parents[1]}{os.sep}"  # noqa: PTH100  compared with co_filename
# Raised as RuntimeError or OSError: by allocators of main memory and, before torch 1.13, of the GPU's; errno 12.
_DEVICE_TEXTS: Final = ("CUDA out of memory", "CUDA error: out of memory", "HIP out of memory")
_MEMORY_TEXTS: Final = ("can't allocate memory", "std::bad_alloc", "Cannot allocate memory")
_SELF_EXPLAINING: Final = (ContractError, InputError, OutputError)


def describe(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the model called sys.exit({error.code!r})"[:ERROR_LIMIT_CHARS]
    text = _text_of(error)
    if isinstance(error, CancelationException) and not text:
        return "the model raised CancelationException, but nobody had canceled the prediction"
    if is_device_memory(error):
        return f"the GPU ran out of memory: {text.partition(chr(10))[0]}"[:ERROR_LIMIT_CHARS]
    if is_memory(error):
        return f"the model ran out of memory: {text}"[:ERROR_LIMIT_CHARS] if text else "the model ran out of memory"
    return text[:ERROR_LIMIT_CHARS] or type(error).__name__


def _text_of(error: BaseException) -> str:
    try:
        return str(error).strip()
    except BaseException:  # noqa: BLE001  the author's __str__ is model code too
        return ""


def is_device_memory(error: BaseException) -> bool:
    """torch.OutOfMemoryError, by its name: torch is not imported here."""
    named = any(
        kind.__name__ == "OutOfMemoryError" and kind.__module__.partition(".")[0] == "torch"
        for kind in type(error).__mro__
    )
    return named or (isinstance(error, RuntimeError) and _says(error, _DEVICE_TEXTS))


def is_memory(error: BaseException) -> bool:
    """An allocation failed: of main memory or of a GPU's."""
    if isinstance(error, MemoryError) or is_device_memory(error):
        return True
    return isinstance(error, RuntimeError | OSError) and _says(error, _MEMORY_TEXTS)


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    said = _text_of(error)
    return any(text in said for text in texts)


def print_traceback(error: BaseException) -> None:
    """To sys.stderr, so that it lands in the logs of the prediction; nothing where the message says it all."""
    if isinstance(error, _SELF_EXPLAINING) and error.__cause__ is None:
        return
    try:
        sys.stderr.write("".join(_without_ours(traceback.TracebackException.from_exception(error)).format()))
    except BaseException:  # noqa: BLE001  as above
        sys.stderr.write(f"{type(error).__name__} (its traceback could not be printed)\n")


def _without_ours(shown: traceback.TracebackException) -> traceback.TracebackException:
    """The frames of the runtime left out, also of what the exception came of, and of the members of a group."""
    waiting: list[traceback.TracebackException | None] = [shown]
    while waiting:
        each = waiting.pop()
        if each is None:
            continue
        frames = [frame for frame in each.stack or () if not frame.filename.startswith(_OURS)]
        each.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]
        waiting += [each.__cause__, each.__context__, *(getattr(each, "exceptions", None) or ())]
    return shown


def release_memory(error: BaseException) -> None:
    """After a failed allocation: let go of the tensors that the traceback's frames hold, and of the cache."""
    if not is_memory(error):
        return
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and is_device_memory(error):
        torch.cuda.empty_cache()
