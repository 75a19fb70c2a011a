"""Describes an exception of model code: one line for the caller, the author's stack frames for the logs.

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

ERROR_LIMIT_CHARS: Final = 4096  # one readable line; long texts, such as whole tensors, are in the traceback
_RUNTIME_PREFIX: Final = f"{Path(os.path.abspath(__file__)).parents[1]}{os.sep}"  # noqa: PTH100  compared with co_filename
# Texts of RuntimeError and OSError: from allocators of main memory, of GPU memory before torch 1.13, and of errno 12.
_DEVICE_TEXTS: Final = ("CUDA out of memory", "CUDA error: out of memory", "HIP out of memory")
_MEMORY_TEXTS: Final = ("can't allocate memory", "std::bad_alloc", "Cannot allocate memory")
_SELF_EXPLANATORY: Final = (ContractError, InputError, OutputError)


def describe(error: BaseException) -> str:
    """Return at most ERROR_LIMIT_CHARS characters for the caller."""
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
    except BaseException:  # noqa: BLE001  __str__ is the author's code
        return ""


def is_device_memory(error: BaseException) -> bool:
    """Return whether GPU memory ran out. torch.OutOfMemoryError is known by its name: torch is not imported here."""
    named = any(
        kind.__name__ == "OutOfMemoryError" and kind.__module__.partition(".")[0] == "torch"
        for kind in type(error).__mro__
    )
    return named or (isinstance(error, RuntimeError) and _mentions(error, _DEVICE_TEXTS))


def is_memory(error: BaseException) -> bool:
    """Return whether an allocation failed, in main memory or on a GPU."""
    if isinstance(error, MemoryError) or is_device_memory(error):
        return True
    return isinstance(error, RuntimeError | OSError) and _mentions(error, _MEMORY_TEXTS)


def _mentions(error: BaseException, texts: tuple[str, ...]) -> bool:
    message = _text_of(error)
    return any(text in message for text in texts)


def print_traceback(error: BaseException) -> None:
    """Print the traceback to sys.stderr, which is the prediction's logs. Print none if the message explains itself."""
    if isinstance(error, _SELF_EXPLANATORY) and error.__cause__ is None:
        return
    try:
        sys.stderr.write("".join(_without_runtime_frames(traceback.TracebackException.from_exception(error)).format()))
    except BaseException:  # noqa: BLE001  its methods are the author's code
        sys.stderr.write(f"{type(error).__name__} (its traceback could not be printed)\n")


def _without_runtime_frames(printed: traceback.TracebackException) -> traceback.TracebackException:
    """Remove the runtime's own frames, also from causes, contexts and members of an exception group."""
    waiting: list[traceback.TracebackException | None] = [printed]
    while waiting:
        each = waiting.pop()
        if each is None:
            continue
        frames = [frame for frame in each.stack or () if not frame.filename.startswith(_RUNTIME_PREFIX)]
        each.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]
        waiting += [each.__cause__, each.__context__, *(getattr(each, "exceptions", None) or ())]
    return printed


def release_memory(error: BaseException) -> None:
    """After a failed allocation, release the tensors that the traceback's frames hold, and the GPU cache."""
    if not is_memory(error):
        return
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and is_device_memory(error):
        torch.cuda.empty_cache()
