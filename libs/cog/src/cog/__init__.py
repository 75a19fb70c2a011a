"""The `cog` module that models import: the author's API of Cog, without Cog.

It owns the names that authors use. It is standard library only, starts nothing, reads no configuration and never talks
to the platform: the child that runs the model sets the scope of each prediction.
"""

from cog._marks import batch, concurrent, streaming
from cog._scope import Scope, current_scope, emit_metric
from cog.exceptions import CancelationException, ExperimentalFeatureWarning
from cog.input import FieldInfo, Input
from cog.model import BaseModel
from cog.predictor import BasePredictor, BaseRunner
from cog.types import (
    AsyncConcatenateIterator,
    Batch,
    ConcatenateIterator,
    File,
    Opaque,
    Path,
    Secret,
    URLFile,
    URLPath,
)

__version__ = "0.23.1"  # the release of Cog whose author's contract this module implements

__all__ = [
    "AsyncConcatenateIterator",
    "BaseModel",
    "BasePredictor",
    "BaseRunner",
    "Batch",
    "CancelationException",
    "ConcatenateIterator",
    "ExperimentalFeatureWarning",
    "FieldInfo",
    "File",
    "Input",
    "Opaque",
    "Path",
    "Scope",
    "Secret",
    "URLFile",
    "URLPath",
    "batch",
    "concurrent",
    "current_scope",
    "emit_metric",
    "streaming",
]
