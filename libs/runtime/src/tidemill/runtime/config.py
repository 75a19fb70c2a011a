"""Configuration: one frozen struct per service, read once from TIDEMILL_* variables.

A field `lease_s` is read from TIDEMILL_LEASE_S. A service whose variable cannot be read stops and names the variable.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from tidemill.contracts.subjects import PREDICTIONS
from tidemill.contracts.validation_messages import describe_error
from tidemill.security.public_urls import DEFAULT_URL

PREFIX = "TIDEMILL_"

# Settings by their new names, with their old ones, which are still read: an upgrade needs no change of settings.
RENAMED: Final = {"TIDEMILL_PUBLIC_URLS": "TIDEMILL_PUBLIC_URL"}

# 256 bits: anybody could sign with an empty key, and guess a short one. The part after $ refuses a final newline.
SigningKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}$(?!\n)")]


class ConfigError(ValueError):
    """A setting is missing or cannot be read; the message names the variable."""


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of every service. Times in seconds, sizes in bytes."""

    database_url: str
    nats_url: str
    host: str = "127.0.0.1"
    ops_port: int = 0  # serves liveness, readiness and metrics; 0 takes a free port
    log_level: str = "info"
    log_format: str = "json"
    otlp_url: str | None = None  # where spans are sent; without it none are made
    trace_ratio: float = 0.01
    drain_s: float = 30.0  # how long in-flight work may take after SIGTERM
    prices: str = ""  # dollars a second by hardware where they differ from the defaults: "cpu=0.0001,gpu-t4=0.0002"
    # Write this service's shared settings down as those of the installation (keys excepted) instead of being held to
    # what was written first. For whoever starts all services together.
    adopt_settings: bool = False
    events_bytes: int = PREDICTIONS.max_bytes  # of the stream of lifecycle events; the same value for all services
    retention_s: int = 3600  # inputs, outputs and logs of API predictions live this long after completion


class ObjectStoreConfig(Common, frozen=True, kw_only=True):
    """The settings of services that use the S3 store."""

    s3_url: str
    s3_access_key: str
    s3_secret_key: str
    s3_bucket: str = "tidemill"
    s3_region: str = "us-east-1"
    signing_key: SigningKey  # 64 hexadecimal characters; signs delivery and stream URLs
    public_urls: str = DEFAULT_URL  # comma-separated: the gateway as clients reach it; see PublicUrls


ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


def load(kind: type[ConfigT], environment: Mapping[str, str]) -> ConfigT:
    """Return the config struct `kind`, read from variables. Raise ConfigError."""
    environment = renamed(environment)
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        variable = PREFIX + field.name.upper()
        if variable in environment:
            values[field.name] = _read(variable, environment[variable], field.type)
        elif field.required:
            raise ConfigError(f"{variable} is not set")
    return kind(**values)


def renamed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with settings under their new names also where only the old name is set."""
    old = {new: environment[old] for new, old in RENAMED.items() if old in environment}
    return {**old, **environment}


def _read(variable: str, text: str, kind: object) -> object:
    try:
        value: object = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{variable} cannot be read: {describe_error(error, kind)}") from None
    # All numbers are times, sizes, counts or ratios: none may be below zero.
    if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{variable} cannot be read: expected a number of at least 0")
    return value
