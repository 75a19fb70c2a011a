"""The file name suffix that programs expect for a media type. Pure.

It knows the registered types and those that browsers, operating systems and libraries use for the same formats.
"""

import mimetypes
from typing import Final

# Only the built-in types: a machine's own list must not decide what a model sees.
_TYPES: Final = mimetypes.MimeTypes(filenames=())
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument"
_BY_SUFFIX: Final = {
    "": ("application/octet-stream", "binary/octet-stream"),
    ".7z": ("application/x-7z-compressed",),
    ".aac": ("audio/aac", "audio/x-aac", "audio/aacp"),
    ".aiff": ("audio/aiff", "audio/x-aiff"),
    ".amr": ("audio/amr",),
    ".apng": ("image/apng",),
    ".avi": ("video/x-msvideo", "video/avi", "video/msvideo", "video/vnd.avi"),
    ".avif": ("image/avif",),
    ".bmp": ("image/bmp", "image/x-ms-bmp", "image/x-bmp"),
    ".bz2": ("application/x-bzip2", "application/bzip2"),
    ".csv": ("text/csv", "application/csv"),
    ".doc": ("application/msword",),
    ".docx": (f"{_OFFICE}.wordprocessingml.document",),
    ".epub": ("application/epub+zip",),
    ".flac": ("audio/flac", "audio/x-flac"),
    ".flv": ("video/x-flv",),
    ".glb": ("model/gltf-binary",),
    ".gltf": ("model/gltf+json",),
    ".gz": ("application/gzip", "application/x-gzip"),
    ".h5": ("application/x-hdf5", "application/x-hdf"),
    ".heic": ("image/heic",),
    ".heif": ("image/heif",),
    ".html": ("text/html",),
    ".ico": ("image/vnd.microsoft.icon", "image/x-icon"),
    ".jp2": ("image/jp2",),
    ".jpg": ("image/jpeg", "image/jpg", "image/pjpeg"),
    ".js": ("text/javascript", "application/javascript"),
    ".json": ("application/json", "text/json"),
    ".jsonl": ("application/jsonl", "application/x-ndjson", "application/x-jsonlines"),
    ".jxl": ("image/jxl",),
    ".m4a": ("audio/mp4", "audio/m4a", "audio/x-m4a"),
    ".md": ("text/markdown", "text/x-markdown"),
    ".mid": ("audio/midi", "audio/x-midi"),
    ".mka": ("audio/x-matroska", "audio/matroska"),
    ".mkv": ("video/x-matroska", "video/matroska"),
    ".mov": ("video/quicktime",),
    ".mp3": ("audio/mpeg", "audio/mp3"),
    ".mp4": ("video/mp4", "application/mp4"),
    ".mpg": ("video/mpeg",),
    ".npy": ("application/x-npy",),
    ".npz": ("application/x-npz",),
    ".obj": ("model/obj",),
    ".odp": (f"{_OPEN_DOCUMENT}.presentation",),
    ".ods": (f"{_OPEN_DOCUMENT}.spreadsheet",),
    ".odt": (f"{_OPEN_DOCUMENT}.text",),
    ".ogg": ("audio/ogg", "application/ogg"),
    ".ogv": ("video/ogg",),
    ".opus": ("audio/opus",),
    ".otf": ("font/otf",),
    ".parquet": ("application/vnd.apache.parquet", "application/x-parquet"),
    ".pdf": ("application/pdf",),
    ".png": ("image/png", "image/x-png"),
    ".ppt": ("application/vnd.ms-powerpoint",),
    ".pptx": (f"{_OFFICE}.presentationml.presentation",),
    ".rar": ("application/vnd.rar", "application/x-rar-compressed"),
    ".rtf": ("application/rtf", "text/rtf"),
    ".sqlite": ("application/vnd.sqlite3", "application/x-sqlite3"),
    ".srt": ("application/x-subrip",),
    ".stl": ("model/stl",),
    ".svg": ("image/svg+xml",),
    ".tar": ("application/x-tar",),
    ".tiff": ("image/tiff",),
    ".toml": ("application/toml",),
    ".tsv": ("text/tab-separated-values",),
    ".ttf": ("font/ttf",),
    ".txt": ("text/plain",),
    ".usdz": ("model/vnd.usdz+zip",),
    ".vtt": ("text/vtt",),
    ".wav": ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
    ".webm": ("video/webm", "audio/webm"),
    ".webp": ("image/webp",),
    ".wma": ("audio/x-ms-wma",),
    ".wmv": ("video/x-ms-wmv",),
    ".woff2": ("font/woff2",),
    ".xls": ("application/vnd.ms-excel",),
    ".xlsx": (f"{_OFFICE}.spreadsheetml.sheet",),
    ".xml": ("application/xml", "text/xml"),
    ".xz": ("application/x-xz",),
    ".yaml": ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"),
    ".zip": ("application/zip", "application/x-zip-compressed"),
    ".zst": ("application/zstd",),
}
_SUFFIXES: Final = {kind: suffix for suffix, kinds in _BY_SUFFIX.items() for kind in kinds}


def suffix(content_type: str) -> str:
    """Return the suffix with its dot; empty if unknown. `content_type` is in lower case and has no parameters."""
    known = _SUFFIXES.get(content_type)
    return (_TYPES.guess_extension(content_type) or "") if known is None else known
