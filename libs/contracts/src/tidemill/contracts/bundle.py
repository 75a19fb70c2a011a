"""What identifies a model's files, and a version of a model: worker and command compute the same from one index."""

import hashlib
from collections.abc import Sequence

import msgspec

from tidemill.contracts.api.pushes import BundleFile


def bundle_digest(files: Sequence[BundleFile]) -> str:
    """Return 64 hexadecimal characters: the sha256 of the file index. It says nothing of the model that has the files.

    The index is compact JSON in UTF-8, `[[path, sha256, size, executable], …]`, sorted by path in code point order.
    """
    index = sorted([file.path, file.sha256, file.size, file.executable] for file in files)
    return hashlib.sha256(msgspec.json.encode(index)).hexdigest()


def version_id(model_id: str, digest: str) -> str:
    """Return the id of the version that a model makes of a bundle: 64 hexadecimal characters.

    The model counts, by the id of its row, because clients send the bare id: two models with the same files differ in
    owner, hardware and secrets. Versions of before have their bundle's digest as id.
    """
    return hashlib.sha256(msgspec.json.encode([model_id, digest])).hexdigest()


def blob_key(digest: str) -> str:
    """Where the bytes of a model file with this sha256 lie in the object store."""
    return f"blobs/{digest}"
