"""Schemas that a push could only guess, because the model's import wanted a GPU or the network: put right by the first
instance that has loaded the model. Nothing else of a version ever changes.
"""

from typing import Final

import msgspec

from tidemill.hosting.child.schema_check import GUESSED_WARNING, SchemaRefused, check_schema
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store

_START: Final = GUESSED_WARNING.partition("{")[0]


def guessed(config: ModelConfig, reason: str) -> ModelConfig:
    """With the warning besides those that it has."""
    warnings = (*config.warnings, GUESSED_WARNING.format(reason=reason))
    return msgspec.structs.replace(config, guessed=True, warnings=warnings)


def known(config: ModelConfig, warnings: tuple[str, ...] = ()) -> ModelConfig:
    """With `warnings` of what could not be seen before."""
    kept = [each for each in config.warnings if not each.startswith(_START)]
    return msgspec.structs.replace(config, guessed=False, warnings=tuple(dict.fromkeys((*kept, *warnings))))


async def correct(database: Database, queue: str, config: ModelConfig, schema: bytes) -> bool:
    """Of the version whose own queue it is. False when the guess stays, for the next instance to correct."""
    try:
        checked = check_schema(schema)
        fresh = msgspec.json.encode(known(config, checked.warnings)).decode()
        await store.correct_schema(database, queue, checked.text, fresh, streams=checked.streams)
    except (SchemaRefused, *TRANSIENT_ERRORS) as error:
        log().warning("schema not corrected", action="boot", queue=queue, error=str(error))
        return False
    log().info("schema corrected", action="boot", queue=queue)
    return True
