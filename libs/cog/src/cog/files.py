"""Older models import these two names from here."""

import base64
import mimetypes
import posixpath
from typing import Any

from cog._files import get_filename


def upload_file(fh: Any) -> str:
    """Return a `data:` URL with the whole content. A model that returns a `Path` has its file stored instead."""
    fh.seek(0)
    content = fh.read()
    if isinstance(content, str):
        content = content.encode()
    name = getattr(fh, "name", "")
    media_type = mimetypes.guess_type(posixpath.basename(name) if isinstance(name, str) else "")[0]
    return f"data:{media_type or 'application/octet-stream'};base64,{base64.b64encode(content).decode()}"


__all__ = ["get_filename", "upload_file"]
