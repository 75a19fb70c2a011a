"""The steps of the janitor with the real PostgreSQL, S3 store and NATS, and what they act upon."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest

from tidemill.contracts import subjects
from tidemill.contracts.ids import new_id
from tidemill.runtime.db import Database
from tidemill.runtime.objects.store import Objects
from tidemill.stack import NatsServer, ObjectServer
from tidemill.storage_janitor.config import Config
from tidemill.storage_janitor.step_context import StepContext
from tidemill.testing import rows
from tidemill.testing.servers import configured, migrated, started

HOURS_AGO = datetime.now(UTC) - timedelta(hours=2)
LONG_AGO = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture(scope="session")
async def janitor_servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("janitor-servers")
    async with (
        started(NatsServer(directory / "nats")) as nats,
        migrated(directory / "postgres") as postgres,
        started(ObjectServer(directory / "objects")) as objects,
    ):
        yield nats, postgres, objects


async def emptied(database, objects):
    await rows.clear(database)
    keys = [item.object_name for prefix in ("outputs/", "files/", "blobs/") for item in await objects.list(prefix)]
    if keys:
        await objects.delete(keys)


@pytest.fixture
def clean(context):
    return lambda: emptied(context.database, context.objects)


@pytest.fixture
async def config(janitor_servers):
    nats, postgres, store = janitor_servers
    config = configured(Config, postgres, nats, store, orphan_age_s=3600.0)
    async with Database(config.database_url) as database, Objects(config) as objects:
        await emptied(database, objects)
    return config


@pytest.fixture
async def context(config, database, bus):
    async with Objects(config) as objects:
        for stream in (subjects.PREDICTIONS, subjects.OUTPUT):
            await bus.jetstream.purge_stream(stream.name)
        yield StepContext(config, database, objects, SimpleNamespace(held=True), bus)


@pytest.fixture
def old_enough(context):
    """Everything is older than this: the store's clock cannot be turned back for tests."""
    return context._replace(config=msgspec.structs.replace(context.config, orphan_age_s=-60.0))


class World:
    """Makes rows and objects, and tells what is left of them."""

    def __init__(self, context):
        self.database, self.objects = context.database, context.objects

    async def account(self, name="a"):
        return await rows.account(self.database, name)

    async def insert(self, table, **columns):
        await rows.insert(self.database, table, **columns)

    async def put(self, key):
        await self.objects.put(key, b"bytes", "text/plain")

    async def keys(self, prefix):
        return {item.object_name for item in await self.objects.list(prefix)}

    async def prediction(self, *, files=(), **changes):
        identifier = new_id()
        output = [f"http://127.0.0.1/v1/delivery/token/{name}" for name in files] or "text"
        columns = {
            "id": identifier,
            "status": "succeeded",
            "input": '{"secret": 1}',
            "output": json.dumps(output),
            "logs": "secret",
            "metrics": '{"predict_time": 1}',
            "created_at": HOURS_AGO,
            "accepted_at": HOURS_AGO,
            "completed_at": HOURS_AGO,
            **changes,
        }
        await rows.prediction(self.database, **columns)
        for name in files:
            await self.put(f"outputs/{identifier}/{name}")
        return identifier

    async def get(self, prediction):
        return await self.database.row("SELECT * FROM prediction WHERE id = $1", prediction)

    async def removed(self, prediction):
        row = await self.get(prediction)
        data = (row["input"], row["output"], row["logs"])
        assert (data == ("{}", None, None)) == row["data_removed"]
        assert row["metrics"] == '{"predict_time": 1}'
        return row["data_removed"]

    async def model(self, account="a"):
        return await rows.model(self.database, await self.account(account))

    async def version(self, digest, account="a"):
        await rows.version(self.database, await self.model(account), files=_files(digest))

    async def push(self, digest, status="uploading", account="a", created_at=LONG_AGO):
        model = await self.model(account)
        return await rows.push(
            self.database, account, model, status=status, files=_files(digest), created_at=created_at
        )

    async def blob(self, digest, account="a", created_at=LONG_AGO):
        await self.account(account)
        await self.insert("blob", account_id=account, digest=digest, size=5, created_at=created_at)
        await self.put(f"blobs/{digest}")

    async def blobs(self):
        return {row["digest"] for row in await self.database.fetch("SELECT digest FROM blob")}

    async def file(self, *, expires_at):
        await self.account()
        identifier = new_id()
        await self.insert(
            "file",
            id=identifier,
            account_id="a",
            name="n",
            content_type="text/plain",
            size=5,
            md5="",
            sha256="",
            metadata="{}",
            object_key=f"files/{identifier}",
            expires_at=expires_at,
        )
        await self.put(f"files/{identifier}")
        return identifier

    async def delivery(self, prediction, status):
        return await rows.delivery(self.database, "a", prediction, status=status, body="secret")

    async def body(self, delivery):
        return await self.database.value("SELECT body FROM webhook_delivery WHERE id = $1", delivery)


def _files(digest):
    return json.dumps([{"path": "predict.py", "sha256": digest, "size": 5}])


@pytest.fixture
async def world(context):
    return World(context)
