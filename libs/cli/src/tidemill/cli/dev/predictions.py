"""The predictions of `tidemill dev`: kept in memory, in the API's format, with their stream events."""

import asyncio
import json
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tidemill.contracts.ids import new_id
from tidemill.hosting.local.frame_handler import PredictionResult

KEPT: Final = 1000  # predictions; their files are kept until the command ends
OPEN: Final = frozenset({"starting", "processing"})


class DevPrediction:
    """One prediction; it is also the PredictionObserver of its run. `base` is the server's URL."""

    def __init__(self, base: str, folder: Path, model: str, value: dict[str, Any]) -> None:
        self.id = new_id()
        self.status = "starting"
        self.input = value
        self.output: Any = None
        self.logs = ""
        self.error: str | None = None
        self.metrics: dict[str, Any] = {}
        self.task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self._base = base
        self._folder = folder
        self._model = model
        self._created_at = format_now()
        self._started_at: str | None = None
        self._completed_at: str | None = None
        self._streamed: list[bytes] = []
        self._new_event = asyncio.Event()

    def document(self) -> dict[str, Any]:
        url = f"{self._base}/v1/predictions/{self.id}"
        return {
            "id": self.id,
            "model": self._model,
            "version": "dev",
            "input": self.input,
            "output": self.output,
            "logs": self.logs,
            "error": self.error,
            "status": self.status,
            "metrics": self.metrics,
            "source": "api",
            "data_removed": False,
            "created_at": self._created_at,
            "started_at": self._started_at,
            "completed_at": self._completed_at,
            "urls": {"get": url, "cancel": f"{url}/cancel", "stream": f"{url}/stream"},
        }

    def start(self) -> None:
        self.status, self._started_at = "processing", format_now()

    def finish(self, ended: PredictionResult) -> None:
        self.status, self.output, self.error = ended.status, ended.output, ended.error
        self.metrics, self._completed_at = ended.metrics, format_now()
        if ended.status == "failed":
            self._stream("error", json.dumps({"detail": ended.error}))
        reasons = {"failed": {"reason": "error"}, "canceled": {"reason": "canceled"}}
        self._stream("done", json.dumps(reasons.get(ended.status, {})))
        self.ended.set()

    def on_log(self, text: str) -> None:
        self.logs += text
        self._stream("logs", text)

    def on_item(self, value: Any) -> None:
        self.output = [*(self.output or []), value]
        self._stream("output", value if isinstance(value, str) else json.dumps(value))

    def output_file(self, name: str) -> tuple[Path, str]:
        """Return a path in a new folder and its URL. Files of equal names do not collide."""
        key = f"{new_id()}/{name}"
        return self._folder / key, f"{self._base}/outputs/{key}"

    def _stream(self, event: str, data: str) -> None:
        lines = "".join(f"data: {line}\n" for line in data.split("\n"))
        self._streamed.append(f"event: {event}\nid: {len(self._streamed)}\n{lines}\n".encode())
        self._new_event.set()
        self._new_event = asyncio.Event()

    async def read_stream(self, first: int) -> tuple[list[bytes], bool]:
        """Return the events from number `first` on, and whether the stream is complete. Wait if there is none yet."""
        while len(self._streamed) <= first and not self.ended.is_set():
            await self._new_event.wait()
        return self._streamed[first:], self.ended.is_set()


class DevPredictions:
    """All unfinished predictions and the newest finished ones, KEPT in all."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, DevPrediction] = OrderedDict()

    def add(self, record: DevPrediction) -> None:
        self._records[record.id] = record
        ended = [each.id for each in self._records.values() if each.ended.is_set()]
        for identifier in ended[: max(0, len(self._records) - KEPT)]:
            del self._records[identifier]

    def get(self, identifier: str) -> DevPrediction | None:
        return self._records.get(identifier)

    def newest(self) -> list[dict[str, Any]]:
        return [record.document() for record in reversed(self._records.values())]


def format_now() -> str:
    """Return the current time in the API's format."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
