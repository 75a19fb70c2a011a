"""What runs must know of their queue's version: which inputs are files or secrets, whether it trains, its price."""

import asyncio
from typing import Any, Final

import msgspec

from tidemill.hosting.files.file_fields import file_fields
from tidemill.runtime.billing import Tariff, Tariffs
from tidemill.runtime.db import TRANSIENT_ERRORS, Row
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.live_output import LiveOutput

PRICES_EVERY_S: Final = 60.0  # for so long a run may be billed by an old price


class QueueVersion(msgspec.Struct, frozen=True):
    queue: str
    account: str  # the model's owner
    fields: tuple[Any, ...]  # inputs that are files; empty for most
    secrets: tuple[str, ...]  # names of inputs that are secret; empty for most
    trains: bool  # its instances run train()


class QueueVersions:
    """Versions by queue, added when an instance boots."""

    def __init__(self, live: LiveOutput, tariffs: Tariffs) -> None:
        self._live = live
        self._tariffs = tariffs
        self._tariffs_of: dict[str, Tariff] = {}
        self._versions: dict[str, QueueVersion] = {}

    def add(self, queue: str, row: Row) -> None:
        schema = msgspec.json.decode(row["openapi_schema"])
        trains = row["kind"] == "training"
        fields = tuple(file_fields(schema, "TrainingInput" if trains else "Input"))
        self._versions[queue] = QueueVersion(queue, row["account_id"], fields, tuple(row["secret_inputs"]), trains)
        if row["streams"]:
            self._live.enable(queue)

    def tariff(self, queue: str) -> Tariff | None:
        return self._tariffs_of.get(queue)

    async def read_tariff(self, queue: str) -> None:
        """Read what the queue's runs are billed by. Raise one of db.TRANSIENT_ERRORS."""
        self._tariffs_of |= await self._tariffs.of([queue])

    async def follow_prices(self) -> None:
        """Named task: owners may change the hardware or visibility of a model while its instances run."""
        while True:
            await asyncio.sleep(PRICES_EVERY_S)
            try:
                self._tariffs_of = await self._tariffs.of(list(self._tariffs_of))
            except TRANSIENT_ERRORS as error:
                log().warning("prices not read", action="retry", error=str(error))

    def needs_preparation(self, queue: str) -> bool:
        version = self._versions[queue]
        return bool(version.fields or version.secrets)

    def trains(self, queue: str) -> bool:
        return self._versions[queue].trains

    def fields(self, queue: str) -> tuple[Any, ...]:
        return self._versions[queue].fields

    def secrets(self, queue: str) -> tuple[str, ...]:
        return self._versions[queue].secrets
