"""Uploaded files as they are on the wire."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


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
