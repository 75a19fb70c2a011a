"""The name of an output file, safe for object keys and URLs, and its media type. Pure."""

import mimetypes
import re
from typing import Final

NAME_LIMIT_CHARS: Final = 120  # leaves room in object keys and sealed URLs
SUFFIX_LIMIT_CHARS: Final = 16
HEAD_BYTES: Final = 16  # of a file's beginning, for `content_type`
OCTETS: Final = "application/octet-stream"

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
# Only the built-in types: a machine's own list must not decide what clients see.
_TYPES: Final = mimetypes.MimeTypes(filenames=())
_MORE_TYPES: Final = {
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".ply": OCTETS,
    ".safetensors": OCTETS,
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".gz": "application/gzip",
    ".zst": "application/zstd",
}
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"glTF", "model/gltf-binary"),
)
_RIFF: Final = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}


def safe_name(name: str) -> str:
    """Return the last component with only characters that URLs need not quote, and its suffix; `output` if empty."""
    cleaned = _UNSAFE.sub("_", re.split(r"[/\\]", name)[-1]).strip(".")
    if not cleaned.strip("_"):
        return "output"
    stem, dot, suffix = cleaned.rpartition(".")
    if not dot or len(suffix) > SUFFIX_LIMIT_CHARS:
        return cleaned[:NAME_LIMIT_CHARS]
    return f"{stem[: NAME_LIMIT_CHARS - len(suffix) - 1]}.{suffix}"


def content_type(name: str, head: bytes) -> str:
    """Return the media type by the name's suffix, or else by the first HEAD_BYTES of the content."""
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    known = _MORE_TYPES.get(suffix) or _TYPES.types_map[True].get(suffix)
    return known or _sniffed(head)


def _sniffed(head: bytes) -> str:
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], OCTETS)
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), OCTETS)
