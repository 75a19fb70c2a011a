"""Reads and validates the cog.yaml of a directory."""

from pathlib import Path
from typing import Final

from tidemill.hosting.model_config.cog_yaml import ParsedConfig, parse_config

COG_YAML: Final = "cog.yaml"
CONFIG_FILE_LIMIT_BYTES: Final = 2 * 1024 * 1024  # above the parsers' own limits, so that they report the reason


def read_config(directory: Path) -> ParsedConfig:
    """Read the configuration. Blocking. Raise ConfigRefused, OSError."""

    def read(path: str) -> bytes | None:
        file = directory / path
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            return opened.read(CONFIG_FILE_LIMIT_BYTES)

    return parse_config(read(COG_YAML) or b"", read)
