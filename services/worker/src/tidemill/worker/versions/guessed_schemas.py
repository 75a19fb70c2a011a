"""Guessed schemas: a push guesses if the model's import needs a GPU or the network. The first instance that has loaded
the model corrects the guess. Nothing else of a version ever changes.
"""

from typing import Final

import msgspec

from tidemill.hosting.child.schema_check import GUESSED_WARNING, SchemaRefused, check_schema
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store

_START: Final = GUESSED_WARNING.partition("{")[0]


def mark_guessed(config: ModelConfig, reason: str) -> ModelConfig:
    """Return the config marked as guessed, with a warning that says why."""
    warnings = (*config.warnings, GUESSED_WARNING.format(reason=reason))
    return msgspec.structs.replace(config, guessed=True, warnings=warnings)


def mark_known(config: ModelConfig, warnings: tuple[str, ...] = ()) -> ModelConfig:
    """Return the config without the guess and its warning, and with new `warnings`."""
    kept = [each for each in config.warnings if not each.startswith(_START)]
    return msgspec.structs.replace(config, guessed=False, warnings=tuple(dict.fromkeys((*kept, *warnings))))


async def correct(database: Database, queue: str, config: ModelConfig, schema: bytes) -> bool:
    """Correct the version with this queue. Return False if the guess stays: the next instance tries again."""
    try:
        checked = check_schema(schema)
        fresh = msgspec.json.encode(mark_known(config, checked.warnings)).decode()
        await store.correct_schema(database, queue, checked.text, fresh, streams=checked.streams)
    except (SchemaRefused, *TRANSIENT_ERRORS) as error:
        log().warning("schema not corrected", action="boot", queue=queue, error=str(error))
        return False
    log().info("schema corrected", action="boot", queue=queue)
    return True
