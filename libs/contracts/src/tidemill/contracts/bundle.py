"""What identifies a model's files: gateway, worker and command compute the same version id from the same index."""

import hashlib
from collections.abc import Sequence

import msgspec

from tidemill.contracts.api import BundleFile


def version_id(files: Sequence[BundleFile]) -> str:
    """64 hexadecimal characters: the sha256 of the file index.

    The index is compact JSON in UTF-8, `[[path, sha256, size, executable], …]`, sorted by path in code point order.
    """
    index = sorted([file.path, file.sha256, file.size, file.executable] for file in files)
    return hashlib.sha256(msgspec.json.encode(index)).hexdigest()


def blob_key(digest: str) -> str:
    """Where the bytes of a model file with this sha256 lie in the object store."""
    return f"blobs/{digest}"
