"""Configuration: one frozen struct per service, read once from TIDEMILL_* variables.

A field `lease_s` is read from TIDEMILL_LEASE_S. A variable that cannot be read stops the service with its name.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from tidemill.contracts.subjects import PREDICTIONS
from tidemill.contracts.validation_messages import describe_error
from tidemill.security.public_urls import DEFAULT_URL

PREFIX = "TIDEMILL_"

# Settings that were called otherwise once, by their names of today: who upgrades need not change anything at once.
RENAMED: Final = {"TIDEMILL_PUBLIC_URLS": "TIDEMILL_PUBLIC_URL"}

# 256 bits: with an empty or a short key anybody could sign. What follows $ refuses a last newline.
SigningKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}$(?!\n)")]


class ConfigError(ValueError):
    """A setting is missing or cannot be read; the message names the variable."""


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs. Times in seconds, sizes in bytes."""

    database_url: str
    nats_url: str
    host: str = "127.0.0.1"
    ops_port: int = 0  # liveness, readiness and metrics; 0 takes a free port
    log_level: str = "info"
    log_format: str = "json"
    otlp_url: str | None = None  # where spans go; none are made without it
    trace_ratio: float = 0.01
    drain_s: float = 30.0  # how long in-flight work may take after SIGTERM
    prices: str = ""  # dollars a second by hardware where they differ from the defaults: "cpu=0.0001,gpu-t4=0.0002"
    # What this service is told counts for all from now on, but for keys: for whoever starts all services together.
    adopt_settings: bool = False
    events_bytes: int = PREDICTIONS.max_bytes  # of the stream of lifecycle events; the same value for all services
    retention_s: int = 3600  # inputs, outputs and logs of API predictions live this long after completion


class ObjectStore(Common, frozen=True, kw_only=True):
    """For the services that touch the S3 store."""

    s3_url: str
    s3_access_key: str
    s3_secret_key: str
    s3_bucket: str = "tidemill"
    s3_region: str = "us-east-1"
    signing_key: SigningKey  # 64 hexadecimal characters; signs delivery and stream URLs
    public_urls: str = DEFAULT_URL  # comma-separated: the gateway as clients reach it; see PublicUrls


ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


def load(kind: type[ConfigT], environment: Mapping[str, str]) -> ConfigT:
    """The config struct `kind` from variables. Raises ConfigError."""
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
    """With the values of settings under their old names where only those are given."""
    old = {new: environment[old] for new, old in RENAMED.items() if old in environment}
    return {**old, **environment}


def _read(variable: str, text: str, kind: object) -> object:
    try:
        value: object = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{variable} cannot be read: {describe_error(error, kind)}") from None
    # Times, sizes, counts and shares: none of them means anything below zero.
    if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{variable} cannot be read: expected a number of at least 0")
    return value
