"""A model's directory as it lies on a disk: its cog.yaml, read and checked."""

from pathlib import Path
from typing import Final

from tidemill.hosting.model_config.cog_yaml import Parsed, parse

COG_YAML: Final = "cog.yaml"
CONFIG_FILE_LIMIT_BYTES: Final = 2 * 1024 * 1024  # above the limits of those who parse: they give the reason


def read_config(directory: Path) -> Parsed:
    """Blocking. Raises ConfigRefused, OSError."""

    def read(path: str) -> bytes | None:
        file = directory / path
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            return opened.read(CONFIG_FILE_LIMIT_BYTES)

    return parse(read(COG_YAML) or b"", read)
