"""The variables that services, commands and people's shells get. Pure: no I/O here."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill.runtime.config import renamed

# In the order in which they stand in the file; PATH comes last.
ENV_FILE_VARIABLES = (
    "REPLICATE_API_TOKEN",
    "REPLICATE_BASE_URL",
    "TIDEMILL_HOME",
    "TIDEMILL_NATS_URL",
    "TIDEMILL_NATS_PUBLIC_URL",
    "TIDEMILL_DATABASE_URL",
    "TIDEMILL_S3_URL",
    "TIDEMILL_S3_ACCESS_KEY",
    "TIDEMILL_S3_SECRET_KEY",
    "TIDEMILL_S3_BUCKET",
    "TIDEMILL_SIGNING_KEY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What all services of one stack share."""

    user: Mapping[str, str]  # the environment that `up` was started with
    servers: Mapping[str, str]
    home: Path
    programs: Path  # first on PATH: the worker runs programs from there
    port: int
    signing_key: str


def shared(setting: StackSettings) -> dict[str, str]:
    """The user's own TIDEMILL_* variables win, but for what this stack alone can know."""
    defaults = {
        "TIDEMILL_HOST": "127.0.0.1",
        "TIDEMILL_PUBLIC_URLS": base_url(setting.port),
        "TIDEMILL_LOG_FORMAT": "json",
        "TIDEMILL_WORKER_HOME": str(setting.home / "worker"),
    }
    settled = {
        **setting.servers,
        "TIDEMILL_HOME": str(setting.home),
        "TIDEMILL_SIGNING_KEY": setting.signing_key,
    }
    env = {**defaults, **renamed(setting.user), **settled}
    env["PATH"] = f"{setting.programs}{os.pathsep}{setting.user.get('PATH', os.defpath)}"
    # The gateway's alone.
    env.pop("TIDEMILL_PORT", None)
    env.pop("TIDEMILL_LISTEN_FD", None)
    return env


def base_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def for_commands(shared_env: Mapping[str, str], port: int, token: str | None) -> dict[str, str]:
    """For the `tidemill` command: it speaks to the gateway as a client."""
    env = {**shared_env, "REPLICATE_BASE_URL": base_url(port)}
    env.pop("REPLICATE_API_TOKEN", None)
    return {**env, "REPLICATE_API_TOKEN": token} if token else env


def render_env_file(values: Mapping[str, str], programs: Path) -> str:
    lines = [f"export {name}={quoted(values[name])}" for name in ENV_FILE_VARIABLES if name in values]
    return "\n".join([*lines, f'export PATH={quoted(str(programs))}:"$PATH"', ""])


def quoted(value: str) -> str:
    """Always in single quotes, so that a line reads the same whatever it holds."""
    plain = shlex.quote(value)
    return plain if plain.startswith("'") else f"'{value}'"
