"""The schema that a child tells: when it only inspects a model, and again when a push could no more than guess it."""

import functools
from pathlib import Path
from typing import Any, Final

from tidemill.model.errors.boot import boot_error, guarded
from tidemill.model.introspection import static_signature
from tidemill.model.introspection.load import PREDICT_NAMES, TRAIN_NAMES, Loaded, load_signature
from tidemill.model.introspection.signature import Signature
from tidemill.model.schema import defaults
from tidemill.model.schema.openapi import openapi_schema
from tidemill.model.wire.spec import BootFrame

REASON_LIMIT_CHARS: Final = 500  # of why a schema is a guess


def inspected(boot: BootFrame) -> tuple[Signature, dict[str, Any]]:
    """Imports the model. Raises BootError."""
    directory = Path(boot.directory)
    train: Signature | None = None
    signature, guessed = _signature(boot.entry, directory)
    if boot.train_entry is not None:
        train, _ = _signature(boot.train_entry, directory, train=True)
    if guessed is not None:  # what it says of defaults may be wrong: whoever corrects it warns of them
        schema = guarded("contract", lambda: openapi_schema(signature, train_signature=train))
        return signature, {**schema, static_signature.GUESSED: guessed}
    for each in (signature, train):
        if each is not None:
            guarded("contract", functools.partial(defaults.check_files, each))
    return signature, _told(signature, train)


def corrected(boot: BootFrame, loaded: Loaded) -> dict[str, Any] | None:
    """The schema of a version that has a guessed one; None where nobody asks. Raises BootError."""
    if not boot.tell_schema or boot.mode != "predict":
        return None
    train: Signature | None = None
    if boot.train_entry is not None:
        train, _ = _signature(boot.train_entry, Path(boot.directory), train=True)
    return _told(loaded.signature, train)


def _told(signature: Signature, train: Signature | None) -> dict[str, Any]:
    """The schema of loaded functions, with what their author should know of it."""
    schema: dict[str, Any] = guarded("contract", lambda: openapi_schema(signature, train_signature=train))
    found = [warning for each in (signature, train) if each is not None for warning in defaults.warnings(each)]
    return {**schema, defaults.WARNINGS: found} if found else schema


def _signature(entry: str, directory: Path, *, train: bool = False) -> tuple[Signature, str | None]:
    """And why it is only a guess, where it is one."""
    try:
        return load_signature(entry, directory, train=train), None
    except BaseException as error:  # noqa: BLE001  the boundary, as in guarded
        guessed = _guessed(error, entry, directory, TRAIN_NAMES if train else PREDICT_NAMES)
        if guessed is None:
            raise boot_error("import", error) from None
        return guessed, f"{type(error).__name__}: {error}"[:REASON_LIMIT_CHARS]


def _guessed(error: BaseException, entry: str, directory: Path, names: tuple[str, ...]) -> Signature | None:
    if not static_signature.lacks_what_a_push_lacks(error):
        return None
    try:
        return static_signature.read_signature(entry, directory, names)
    except Exception:  # noqa: BLE001  what the import failed of says more
        return None
