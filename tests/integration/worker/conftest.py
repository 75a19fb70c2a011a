"""The parts of a worker that build and fetch, with the real PostgreSQL, S3 store and uv, and a made-up inspector."""

import base64
import hashlib
import json
import zipfile
from types import SimpleNamespace

import msgspec
import pytest

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import blob_key
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import MIB
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.environments.installer import Installer
from tidemill.hosting.environments.store import Environments
from tidemill.hosting.scratch import Scratch
from tidemill.runtime.config import ObjectStoreConfig
from tidemill.runtime.db import Database
from tidemill.runtime.objects.store import Objects
from tidemill.stack import ObjectServer
from tidemill.testing import rows
from tidemill.testing.servers import configured, migrated, started
from tidemill.worker.cache.blobs import BlobCache, ObjectStoreBlobs
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.versions.pushes import PushBuilder

SCHEMA = {
    "openapi": "3.0.2",
    "components": {
        "schemas": {
            "Input": {"type": "object", "properties": {"text": {"type": "string"}}},
            "Output": {"type": "string"},
        }
    },
}


@pytest.fixture(scope="session")
async def worker_servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("worker-servers")
    async with (
        migrated(directory / "postgres") as postgres,
        started(ObjectServer(directory / "objects")) as store,
        Database(postgres.url) as database,
        Objects(configured(ObjectStoreConfig, postgres, objects=store)) as objects,
    ):
        yield SimpleNamespace(database=database, objects=objects, url=postgres.url)


class FakeInspector:
    """Answers what it is told to, once it has looked at the directory."""

    def __init__(self):
        self.answer, self.printed, self.seen = msgspec.Raw(json.dumps(SCHEMA).encode()), "imported\n", []

    async def inspect(self, directory, environment, config, *, trusted):
        assert trusted is False
        self.seen.append((directory, environment, config))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer, self.printed


class Workshop:
    """One worker's builder, and pushes for it."""

    def __init__(self, servers, home, worker, model_id, account_id, bundles, environments):
        self.database, self.objects, self.home = servers.database, servers.objects, home
        self.worker, self.model_id, self.account_id = worker, model_id, account_id
        self.bundles, self.inspector = bundles, FakeInspector()
        self.environments = environments
        self.announced = []
        self.pushes = self.builder(worker)

    def builder(self, worker, *, at_once=1):
        parts = self.bundles, self.environments, self.inspector, self.announce
        return PushBuilder(worker, self.database, *parts, at_once=at_once)

    async def announce(self, queue, account):
        assert account == self.account_id
        self.announced.append(queue)

    async def new_worker(self, lease_s=3600):
        return await rows.worker(self.database, lease_s=lease_s)

    async def upload(self, **contents):
        files = []
        for name, content in contents.items():
            digest = hashlib.sha256(content).hexdigest()
            await self.objects.put(blob_key(digest), content, "application/octet-stream")
            files.append(BundleFile(path=name.replace("__", "."), sha256=digest, size=len(content)))
        return files

    async def push(self, files, status="queued", account=None):
        """Of `account`, else of the one that has the model."""
        listed = msgspec.json.encode(files).decode()
        return await rows.push(self.database, account or self.account_id, self.model_id, status=status, files=listed)

    async def row(self, push_id):
        return await self.database.row("SELECT * FROM push WHERE id = $1", push_id)

    async def versions(self):
        return await self.database.fetch("SELECT * FROM version WHERE model_id = $1 ORDER BY created_at", self.model_id)

    async def latest(self):
        return await self.database.value("SELECT latest_queue FROM model WHERE id = $1", self.model_id)


@pytest.fixture
async def workshop(worker_servers, tmp_path):
    database = worker_servers.database
    await rows.clear(database)
    account = await rows.account(database, new_id())
    model = await rows.model(database, account, name="m", visibility="private")
    with Scratch(tmp_path) as scratch:
        blobs = BlobCache(tmp_path / "blobs", ObjectStoreBlobs(worker_servers.objects), scratch)
        bundles = BundleCache(tmp_path / "versions", blobs, scratch)
        environments = Environments(tmp_path / "environments", Installer(tmp_path / "uv"), scratch)
        shop = Workshop(worker_servers, tmp_path, "", model, account, bundles, environments)
        shop.worker = await shop.new_worker()
        shop.pushes = shop.builder(shop.worker)
        yield shop
        await environments.close()
        await bundles.close()


@pytest.fixture
def boot_failed():
    return BootFailed


def write_wheel(directory, name, version, *, needs=(), module="VALUE = 1\n", zeros=()):
    """A wheel with one module, and files of so many MiB of zeros, which pack well."""
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    members = {
        f"{name}.py": module,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for number, mebibytes in enumerate(zeros):
            with wheel.open(f"{name}_zeros/{number}", "w", force_zip64=True) as file:
                for _ in range(mebibytes):
                    file.write(bytes(MIB))
        for path, text in {**members, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(path, text)


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of wheels that is all the installer knows of."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "index").as_uri())
    monkeypatch.setenv("UV_FIND_LINKS", str(directory))

    def add(name, version, **contents):
        write_wheel(directory, name, version, **contents)

    return add
