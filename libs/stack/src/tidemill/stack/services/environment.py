"""The variables for services, for the `tidemill` command and for users' shells. Pure."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill.runtime.config import renamed

# In the order of the file; PATH comes last.
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
    """The settings that all services of one stack share."""

    user: Mapping[str, str]  # the environment that `up` was started with
    servers: Mapping[str, str]
    home: Path
    programs: Path  # first on PATH: the worker runs programs from there
    port: int
    signing_key: str


def shared(settings: StackSettings) -> dict[str, str]:
    """Return the environment of all services. The user's TIDEMILL_* variables win, except over values of this stack."""
    defaults = {
        "TIDEMILL_HOST": "127.0.0.1",
        "TIDEMILL_PUBLIC_URLS": base_url(settings.port),
        "TIDEMILL_LOG_FORMAT": "json",
        "TIDEMILL_WORKER_HOME": str(settings.home / "worker"),
    }
    settled = {
        **settings.servers,
        "TIDEMILL_HOME": str(settings.home),
        "TIDEMILL_SIGNING_KEY": settings.signing_key,
    }
    env = {**defaults, **renamed(settings.user), **settled}
    env["PATH"] = f"{settings.programs}{os.pathsep}{settings.user.get('PATH', os.defpath)}"
    # For the gateway only.
    env.pop("TIDEMILL_PORT", None)
    env.pop("TIDEMILL_LISTEN_FD", None)
    return env


def base_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def for_commands(shared_env: Mapping[str, str], port: int, token: str | None) -> dict[str, str]:
    """Return the environment of the `tidemill` command, which calls the gateway as a client."""
    env = {**shared_env, "REPLICATE_BASE_URL": base_url(port)}
    env.pop("REPLICATE_API_TOKEN", None)
    return {**env, "REPLICATE_API_TOKEN": token} if token else env


def render_env_file(values: Mapping[str, str], programs: Path) -> str:
    lines = [f"export {name}={quoted(values[name])}" for name in ENV_FILE_VARIABLES if name in values]
    return "\n".join([*lines, f'export PATH={quoted(str(programs))}:"$PATH"', ""])


def quoted(value: str) -> str:
    """Return the value in single quotes, also when it needs none."""
    plain = shlex.quote(value)
    return plain if plain.startswith("'") else f"'{value}'"
