"""Predictions as clients see them, and the body that creates one.

Keys that Replicate does not have (`queue_position`, `error_code`) are additions; none is an enum value or event name.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tidemill.contracts.api.fields import Url, WebhookEventName
from tidemill.contracts.limits import PRIORITY_LIMIT
from tidemill.contracts.prediction import Status

# Why a prediction is still starting: others are ahead of it, an instance boots, the next boot waits after a failure, or
# no machine has capacity for an instance.
WaitingFor = Literal["queue", "instance_boot", "boot_retry", "capacity"]


class CreatePrediction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of a prediction create; `version` is 64 hex, owner/name:64hex or owner/name."""

    input: Raw
    version: str | None = None
    webhook: Url | None = None
    webhook_completed: Url | None = None
    webhook_events_filter: list[WebhookEventName] | None = None
    stream: bool | None = None
    priority: (
        Annotated[
            int, Meta(ge=0, le=PRIORITY_LIMIT, description="Where predictions wait, one's own higher ones begin first")
        ]
        | None
    ) = None


class CreatePredictionOfVersion(CreatePrediction, kw_only=True, forbid_unknown_fields=True):
    """The same where no path names the model."""

    version: str


class PredictionUrls(msgspec.Struct, kw_only=True, omit_defaults=True):
    get: str
    cancel: str
    web: str
    stream: str | UnsetType = UNSET


class Prediction(msgspec.Struct, kw_only=True):
    """A prediction as clients see it. Raw members are JSON passed through as bytes."""

    id: str
    model: str
    version: str
    input: Raw
    logs: str | None
    output: Raw
    data_removed: bool
    error: str | None
    error_code: Annotated[str, Meta(description="Why it failed, for programs")] | UnsetType = UNSET
    status: Status
    source: str
    created_at: str
    started_at: str | UnsetType = UNSET
    completed_at: str | UnsetType = UNSET
    deadline: str | UnsetType = UNSET
    data_deleted_at: Annotated[str, Meta(description="When input, output, logs and files are going to be deleted")] | (
        UnsetType
    ) = UNSET
    shared_at: Annotated[str, Meta(description="Since when everybody can read it")] | UnsetType = UNSET
    deployment: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET
    metrics: Raw | UnsetType = UNSET
    boot: Annotated[Raw, Meta(description="Seconds by phase of the boot that it waited for")] | UnsetType = UNSET
    priority: Annotated[int, Meta(description="Where it is not 0")] | UnsetType = UNSET
    queue_position: Annotated[int, Meta(description="1: the next to begin. While it is starting")] | UnsetType = UNSET
    waiting_for: WaitingFor | UnsetType = UNSET
    waiting_since: (
        Annotated[str, Meta(description="Since when: that of the boot where it waits for one, else of its acceptance")]
        | UnsetType
    ) = UNSET
    setup_logs: (
        Annotated[str, Meta(description="The end of what the set-up that it waits for has printed so far")] | UnsetType
    ) = UNSET
    urls: PredictionUrls
    webhook: str | UnsetType = UNSET
    webhook_events_filter: list[str] | UnsetType = UNSET
