"""What queues resolve to, and the versions that trainings make: fenced, whole, and with the weights as they were."""

import hashlib
import json
import os
from types import SimpleNamespace

import msgspec
import pytest

from tidemill.contracts.bundle import blob_key
from tidemill.contracts.events import Job
from tidemill.contracts.ids import new_id
from tidemill.hosting.cogyaml import ModelConfig
from tidemill.hosting.frames import FileRef
from tidemill.hosting.scratch import Scratch
from tidemill.worker import store
from tidemill.worker.runs.run import Refused, Run
from tidemill.worker.versions.trainings import FOLDER, Trainings

WEIGHTS = FileRef("/weights", "w.bin")


@pytest.fixture
async def base(workshop):
    """A version that can be trained, its training queue, and a release of a deployment of it."""
    database = workshop.database
    files = await workshop.upload(cog__yaml=b"train: train.py:train", train__py=b"def train(): ...")
    queues = SimpleNamespace(version=new_id(), training=new_id(), release=new_id())
    config = ModelConfig(entry="predict.py:P", train_entry="train.py:train")
    await database.execute(
        "INSERT INTO version (queue, id, model_id, cog_version, openapi_schema, files, config, streams) "
        "VALUES ($1, 'v', $2, '0.16', '{}', $3, $4, true)",
        *(queues.version, workshop.model_id, msgspec.json.encode(files).decode(), msgspec.json.encode(config).decode()),
    )
    await database.execute(
        "INSERT INTO training_queue (queue, version_queue) VALUES ($1, $2)", queues.training, queues.version
    )
    await database.execute(
        "INSERT INTO deployment (id, account_id, owner, name) VALUES ($1, $2, $2, 'd')",
        queues.release,
        workshop.account_id,
    )
    await database.execute(
        "INSERT INTO release (queue, deployment_id, number, version_queue, streams, hardware, min_instances, "
        "max_instances) VALUES ($1, $1, 1, $2, true, 'cpu', 0, 1)",
        *(queues.release, queues.version),
    )
    return queues


@pytest.fixture
async def training(workshop, base):
    """One that this worker runs."""

    async def make(**changes):
        columns = {
            "id": new_id(),
            "account_id": workshop.account_id,
            "model": f"{workshop.account_id}/m",
            "version": "v",
            "queue": base.training,
            "gateway": "g",
            "input": "{}",
            "kind": "training",
            "destination": f"{workshop.account_id}/m",
            "status": "processing",
            "worker": workshop.worker,
            **changes,
        }
        names, places = ", ".join(columns), ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        await workshop.database.execute(
            f"INSERT INTO prediction ({names}, created_at) VALUES ({places}, now())", *columns.values()
        )
        job = Job(id=columns["id"], attempt=1, account=workshop.account_id, gateway="g", created_at=0)
        return Run(job, columns["queue"])

    return make


@pytest.fixture
async def ended(workshop, base, tmp_path):
    """Hands the output of a training over, as the engine does when its child says that it is done."""

    async def upload(_run, value, files, fds):
        for fd in fds:
            os.close(fd)
        decoded = msgspec.json.decode(value)
        return msgspec.Raw(json.dumps({**decoded, "weights": "https://x.example/w"} if files else decoded).encode())

    with Scratch(tmp_path / "spool") as scratch:
        trainings = Trainings(
            workshop.worker, workshop.database, workshop.objects, scratch, upload, lambda queue: queue == base.training
        )

        async def end(run, content=b"weights", files=(WEIGHTS,), path=None):
            source = path or tmp_path / "source"
            if path is None:
                source.write_bytes(content)
            fds = [os.open(source, os.O_RDONLY) for _ in files]
            value = msgspec.Raw(b'{"weights": null, "loss": 0.5}')
            return json.loads(bytes(await trainings.upload(run, value, files, fds)))

        yield end


async def test_every_kind_of_queue_resolves_to_its_version(workshop, base):
    for queue, kind in ((base.version, "prediction"), (base.release, "prediction"), (base.training, "training")):
        row = await store.version(workshop.database, queue)
        assert (row["queue"], row["id"], row["kind"]) == (base.version, "v", kind)
    assert await store.version(workshop.database, new_id()) is None


async def test_a_training_makes_the_latest_version_of_its_destination(workshop, training, ended):
    output = await ended(await training())
    *_, made = await workshop.versions()
    assert output == {
        "version": f"{workshop.account_id}/m:{made['id']}",
        "weights": "https://x.example/w",
        "loss": 0.5,
    }
    assert await workshop.latest() == made["queue"]
    assert made["streams"]
    digest = hashlib.sha256(b"weights").hexdigest()
    files = {each["path"]: each for each in json.loads(made["files"])}
    assert files[f"{FOLDER}/w.bin"] == {"path": f"{FOLDER}/w.bin", "sha256": digest, "size": 7, "executable": False}
    assert {"cog.yaml", "train.py"} < set(files)
    assert json.loads(made["config"])["weights"] == f"{FOLDER}/w.bin"
    assert json.loads(made["config"])["author"] is None
    assert await workshop.objects.read(blob_key(digest), limit_bytes=100) == b"weights"


async def test_a_version_made_of_somebody_elses_remembers_whose_code_it_is(workshop, training, ended):
    account, model = new_id(), new_id()
    await workshop.database.execute(
        "INSERT INTO account (id, username, name, webhook_secret) VALUES ($1, $1, 'Other', 'x')", account
    )
    await workshop.database.execute(
        "INSERT INTO model (id, account_id, owner, name, visibility, hardware) "
        "VALUES ($1, $2, $2, 'n', 'private', 'cpu')",
        *(model, account),
    )
    await ended(await training(account_id=account, destination=f"{account}/n"))
    made = await workshop.database.row("SELECT * FROM version WHERE model_id = $1", model)
    assert json.loads(made["config"])["author"] == workshop.account_id


async def test_large_weights_arrive_whole(workshop, training, ended):
    content = os.urandom(3 * 1024 * 1024 + 17)
    await ended(await training(), content)
    key = blob_key(hashlib.sha256(content).hexdigest())
    assert await workshop.objects.read(key, limit_bytes=len(content)) == content


async def test_the_same_weights_again_are_the_same_version(workshop, training, ended):
    run = await training()
    assert await ended(run) == await ended(run)
    assert len(await workshop.versions()) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "canceled"},
        {"attempt": 2},
        {"worker": "another"},
        {"destination": "nobody/nothing"},
    ],
)
async def test_a_training_that_is_no_longer_wanted_makes_nothing(workshop, training, ended, changes):
    with pytest.raises(Refused):
        await ended(await training(**changes))
    assert len(await workshop.versions()) == 1


async def test_weights_that_are_no_file_are_refused(workshop, training, ended):
    with pytest.raises(Refused, match="regular file"):
        await ended(await training(), path="/dev/zero")
    assert len(await workshop.versions()) == 1


async def test_other_outputs_pass_through(workshop, base, training, ended):
    run = await training(queue=base.version, kind="prediction")
    assert await ended(run) == {"weights": "https://x.example/w", "loss": 0.5}
    assert (await ended(await training(), files=(FileRef("/log", "log.txt"),)))["weights"] == "https://x.example/w"
    assert len(await workshop.versions()) == 1
