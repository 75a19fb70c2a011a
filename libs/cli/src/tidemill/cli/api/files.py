"""Uploads to the files API, and downloads from URLs of the API."""

import mimetypes
from pathlib import Path
from typing import Any

import httpx

from tidemill.cli.api.client import Api, retry_while_unavailable
from tidemill.cli.errors import CommandError


def upload_for_url(api: Api, path: Path) -> str:
    """Upload the file and return its URL in the files API."""
    return str(upload_file(api, path)["urls"]["get"])


def upload_file(api: Api, path: Path) -> dict[str, Any]:
    """Upload the file and return its JSON in the files API. Retry while the API is unavailable."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    def send() -> Any:
        with path.open("rb") as stream:
            return api.call("POST", "files", files={"content": (path.name, stream, kind)})

    return dict(retry_while_unavailable(send))


def download_file(url: str, target: Path) -> None:
    """Write the content at a URL of the API to `target`. Raise CommandError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with httpx.stream("GET", url, timeout=60) as response:
            if not response.is_success:
                raise CommandError(f"could not download {url}: {response.status_code}")
            with target.open("wb") as stream:
                for chunk in response.iter_bytes():
                    stream.write(chunk)
    except httpx.TransportError as error:
        raise CommandError(f"could not download {url}: {error}") from None
