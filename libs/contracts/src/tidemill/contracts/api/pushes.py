"""Pushing a version: the index of a model's files, and the state of its build."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidemill.contracts import patterns


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
