"""What the worker knows of the versions that it runs: which inputs are files, whether output streams."""

from typing import Any

import msgspec

from tidemill.runtime.db import Row
from tidemill.worker.inputs import file_fields
from tidemill.worker.live import Live


class Version(msgspec.Struct, frozen=True):
    queue: str
    account: str  # the model's owner
    fields: tuple[Any, ...]  # inputs that are files; empty for most
    trains: bool  # its instances run train()


class Queues:
    """Versions by queue, learned when an instance boots."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._versions: dict[str, Version] = {}

    def learn(self, queue: str, row: Row) -> None:
        schema = msgspec.json.decode(row["openapi_schema"])
        trains = row["kind"] == "training"
        fields = tuple(file_fields(schema, "TrainingInput" if trains else "Input"))
        self._versions[queue] = Version(queue, row["account_id"], fields, trains)
        if row["streams"]:
            self._live.streams(queue)

    def needs_preparation(self, queue: str) -> bool:
        return bool(self._versions[queue].fields)

    def trains(self, queue: str) -> bool:
        return self._versions[queue].trains

    def fields(self, queue: str) -> tuple[Any, ...]:
        return self._versions[queue].fields
