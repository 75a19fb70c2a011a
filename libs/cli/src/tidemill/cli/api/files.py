"""Uploads to the files API, and downloads from URLs of the API."""

import mimetypes
from pathlib import Path
from typing import Any

import httpx

from tidemill.cli.api.client import Api, patiently
from tidemill.cli.errors import CommandError


def upload(api: Api, path: Path) -> str:
    """The URL of the file in the files API."""
    return str(uploaded(api, path)["urls"]["get"])


def uploaded(api: Api, path: Path) -> dict[str, Any]:
    """The file as the files API has it."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    def send() -> Any:
        with path.open("rb") as stream:
            return api.call("POST", "files", files={"content": (path.name, stream, kind)})

    return dict(patiently(send))


def download(url: str, target: Path) -> None:
    """Fill the file `target` with what a URL of the API gives. Raise CommandError."""
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
