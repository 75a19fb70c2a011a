"""Ids of a model's files and of versions; the worker and the command line compute them alike from the file index."""

import hashlib
from collections.abc import Sequence

import msgspec

from tidemill.contracts.api.pushes import BundleFile


def bundle_digest(files: Sequence[BundleFile]) -> str:
    """Return the sha256 of the file index in hex (64 characters). It does not depend on the model.

    The index is compact JSON in UTF-8, `[[path, sha256, size, executable], …]`, sorted by path in code point order.
    """
    index = sorted([file.path, file.sha256, file.size, file.executable] for file in files)
    return hashlib.sha256(msgspec.json.encode(index)).hexdigest()


def version_id(model_id: str, digest: str) -> str:
    """Return the id of the version that a model makes of a bundle: 64 hexadecimal characters.

    It includes the id of the model's row, because clients send only the version's id: two models with the same files
    differ in owner, hardware and secrets. Older versions have the digest of their bundle as id.
    """
    return hashlib.sha256(msgspec.json.encode([model_id, digest])).hexdigest()


def blob_key(digest: str) -> str:
    """Return the key in the object store of the model file with this sha256."""
    return f"blobs/{digest}"
