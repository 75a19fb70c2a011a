"""Deployments as they are on the wire, and their request bodies."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidemill.contracts import patterns
from tidemill.contracts.api.accounts import Account
from tidemill.contracts.api.fields import Name
from tidemill.contracts.limits import NAME_LIMIT_CHARS

MIN_INSTANCES_LIMIT: Final = 5  # Replicate's; each is paid for whether it is used or not
MAX_INSTANCES_LIMIT: Final = 20  # Replicate's
SKU_LIMIT_CHARS: Final = 64
MODEL_LIMIT_CHARS: Final = 2 * NAME_LIMIT_CHARS + 1

ModelName = Annotated[str, Meta(pattern=patterns.MODEL, max_length=MODEL_LIMIT_CHARS)]
VersionId = Annotated[str, Meta(pattern=patterns.SHA256, description="A version's id.")]
Sku = Annotated[str, Meta(max_length=SKU_LIMIT_CHARS, description="One of those that `GET /hardware` lists.")]
MinInstances = Annotated[
    int, Meta(ge=0, le=MIN_INSTANCES_LIMIT, description="Instances that are kept running, used or not.")
]
MaxInstances = Annotated[
    int, Meta(ge=0, le=MAX_INSTANCES_LIMIT, description="Instances at most; 0 disables the deployment.")
]


class Configuration(msgspec.Struct, kw_only=True):
    hardware: str
    min_instances: int
    max_instances: int


class Release(msgspec.Struct, kw_only=True):
    """What a deployment runs. Every change makes the next one: `number` counts from 1."""

    number: int
    model: str
    version: str
    created_at: str
    created_by: Account
    configuration: Configuration


class Deployment(msgspec.Struct, kw_only=True):
    owner: str
    name: str
    current_release: Release


class CreateDeployment(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A version under a name of one's own account, with instances of its own."""

    name: Name
    model: ModelName
    version: VersionId
    hardware: Sku
    min_instances: MinInstances
    max_instances: MaxInstances


class UpdateDeployment(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is. `version` is one of the model that is deployed."""

    version: VersionId | UnsetType = UNSET
    hardware: Sku | UnsetType = UNSET
    min_instances: MinInstances | UnsetType = UNSET
    max_instances: MaxInstances | UnsetType = UNSET
