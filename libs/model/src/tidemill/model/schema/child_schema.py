"""The schema that a child reports: for an inspection, or at a boot if the push could only guess it."""

import functools
from pathlib import Path
from typing import Any, Final

from tidemill.model.errors.boot import boot_error, run_step
from tidemill.model.introspection import static_signature
from tidemill.model.introspection.load import PREDICT_NAMES, TRAIN_NAMES, LoadedModel, load_signature
from tidemill.model.introspection.signature import Signature
from tidemill.model.schema import defaults
from tidemill.model.schema.openapi import openapi_schema
from tidemill.model.wire.spec import BootFrame

REASON_LIMIT_CHARS: Final = 500  # of the reason why a schema is a guess


def inspect_model(boot: BootFrame) -> tuple[Signature, dict[str, Any]]:
    """Import the model. Return its signature and schema. Raise BootError."""
    directory = Path(boot.directory)
    train: Signature | None = None
    signature, guessed = _load_or_guess(boot.entry, directory)
    if boot.train_entry is not None:
        train, _ = _load_or_guess(boot.train_entry, directory, train=True)
    if guessed is not None:  # its defaults may be wrong: correct_schema() warns of them later
        schema = run_step("contract", lambda: openapi_schema(signature, train_signature=train))
        return signature, {**schema, static_signature.GUESSED: guessed}
    for each in (signature, train):
        if each is not None:
            run_step("contract", functools.partial(defaults.check_files, each))
    return signature, _schema_with_warnings(signature, train)


def correct_schema(boot: BootFrame, loaded: LoadedModel) -> dict[str, Any] | None:
    """Return the schema of a version whose schema was guessed, None if the worker did not ask. Raise BootError."""
    if not boot.tell_schema or boot.mode != "predict":
        return None
    train: Signature | None = None
    if boot.train_entry is not None:
        train, _ = _load_or_guess(boot.train_entry, Path(boot.directory), train=True)
    return _schema_with_warnings(loaded.signature, train)


def _schema_with_warnings(signature: Signature, train: Signature | None) -> dict[str, Any]:
    """Return the schema of loaded functions, with warnings for their author."""
    schema: dict[str, Any] = run_step("contract", lambda: openapi_schema(signature, train_signature=train))
    found = [warning for each in (signature, train) if each is not None for warning in defaults.warnings(each)]
    return {**schema, defaults.WARNINGS: found} if found else schema


def _load_or_guess(entry: str, directory: Path, *, train: bool = False) -> tuple[Signature, str | None]:
    """Return the signature, and the reason if it is only a guess."""
    try:
        return load_signature(entry, directory, train=train), None
    except BaseException as error:  # noqa: BLE001  the boundary, as in run_step
        guessed = _guess(error, entry, directory, TRAIN_NAMES if train else PREDICT_NAMES)
        if guessed is None:
            raise boot_error("import", error) from None
        return guessed, f"{type(error).__name__}: {error}"[:REASON_LIMIT_CHARS]


def _guess(error: BaseException, entry: str, directory: Path, names: tuple[str, ...]) -> Signature | None:
    if not static_signature.needs_gpu_or_network(error):
        return None
    try:
        return static_signature.read_signature(entry, directory, names)
    except Exception:  # noqa: BLE001  the error of the import is more useful
        return None
