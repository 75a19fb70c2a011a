"""API objects as they are on the wire, and request bodies. Bodies refuse members that they do not have, as Replicate's
do: what is misspelt must not vanish.

Keys that Replicate does not have (`queue_position`, `error_code`) are additions; none is an enum value or event name.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tidemill.contracts import patterns
from tidemill.contracts.limits import (
    DESCRIPTION_LIMIT_CHARS,
    NAME_LIMIT_CHARS,
    PRIORITY_LIMIT,
    URL_LIMIT_BYTES,
)
from tidemill.contracts.prediction import Status

Name = Annotated[str, Meta(pattern=patterns.NAME, max_length=NAME_LIMIT_CHARS)]
Url = Annotated[str, Meta(max_length=URL_LIMIT_BYTES)]
Link = Annotated[str, Meta(pattern=patterns.LINK_OR_NOTHING, max_length=URL_LIMIT_BYTES)]  # empty: as good as null
WhereSet = Annotated[str, Meta(description="Left out while it is not set")] | UnsetType
Description = Annotated[str, Meta(max_length=DESCRIPTION_LIMIT_CHARS)]
WebhookEventName = Literal["start", "output", "logs", "completed"]
Visibility = Literal["public", "private"]
# Why a prediction is still starting: others are before it, an instance boots, the last boot failed and the next one is
# held off for a while, or no machine has room for an instance.
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


class Version(msgspec.Struct, kw_only=True):
    id: str
    created_at: str
    cog_version: str
    openapi_schema: Raw
    digest: Annotated[str, Meta(description="sha256 of the index of its files: equal for the same files")]
    warnings: Annotated[list[str], Meta(description="What its push warned of")] | UnsetType = UNSET


class Model(msgspec.Struct, kw_only=True):
    url: str
    owner: str
    name: str
    description: str | None
    visibility: Visibility
    is_official: bool
    github_url: str | None
    paper_url: str | None
    license_url: str | None
    weights_url: str | None
    run_count: int
    cover_image_url: str | None
    hardware: str
    created_at: str
    default_example: Prediction | None
    latest_version: Version | None


class CreateModel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    owner: Name
    name: Name
    visibility: Visibility
    hardware: Annotated[str, Meta(max_length=64, description="A sku of GET /hardware")]
    description: Description | None = None
    github_url: Link | None = None
    paper_url: Link | None = None
    license_url: Link | None = None
    cover_image_url: Link | None = None


class Account(msgspec.Struct, kw_only=True):
    type: Literal["user", "organization"]
    username: str
    name: str
    github_url: WhereSet = UNSET
    avatar_url: WhereSet = UNSET


class WebhookSecret(msgspec.Struct):
    """`key` is a Standard Webhooks secret: `whsec_` and base64."""

    key: str


class FileUrls(msgspec.Struct):
    get: str
    download: Annotated[str, Meta(description="The bytes, for whoever has this URL, until the file expires")]


class File(msgspec.Struct, kw_only=True):
    id: str
    name: str
    content_type: str
    size: int
    etag: str
    checksums: dict[str, str]
    metadata: dict[str, Any]
    created_at: str
    expires_at: str
    urls: FileUrls


ItemT = TypeVar("ItemT")


class Page(msgspec.Struct, Generic[ItemT], kw_only=True):
    """One page of anything; `next` and `previous` are absolute URLs, followed verbatim."""

    next: str | None
    previous: str | None
    results: list[ItemT]


class BundleFile(msgspec.Struct, kw_only=True):
    """One file of a model: `path` relative with slashes, `size` in bytes."""

    path: str
    sha256: Annotated[str, Meta(pattern=patterns.SHA256)]
    size: Annotated[int, Meta(ge=0)]
    executable: bool = False


class PushedFile(BundleFile, kw_only=True, forbid_unknown_fields=True):
    """A file as its author names it: what is misspelt must not vanish."""


class Blob(msgspec.Struct):
    """The bytes of a bundle's file, as the server has them: `size` in bytes."""

    sha256: str
    size: int


class CreatePush(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Asks for a version made of these files; those not uploaded yet come back as `missing`."""

    files: list[PushedFile]


class Push(msgspec.Struct, kw_only=True):
    """A version in the making: `missing` lists digests still to upload, `logs` what the build printed."""

    id: str
    model: str
    status: Literal["uploading", "queued", "building", "succeeded", "failed"]
    queue_position: Annotated[int, Meta(description="1: the next to be built. While it is queued")] | UnsetType = UNSET
    missing: list[str]
    version: str | None
    error: str | None
    warnings: list[str]
    logs: str
    created_at: str
    completed_at: str | None
