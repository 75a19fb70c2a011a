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
from tidemill.hosting.child.frames import FileRef
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.hosting.scratch import Scratch
from tidemill.testing import rows
from tidemill.worker import store
from tidemill.worker.runs.run import Run, RunFailed
from tidemill.worker.versions.trainings import FOLDER, TrainingOutputs

WEIGHTS = FileRef("/weights", "w.bin")


@pytest.fixture
async def base(workshop):
    """A version that can be trained, its training queue, and a release of a deployment of it."""
    database = workshop.database
    files = await workshop.upload(cog__yaml=b"train: train.py:train", train__py=b"def train(): ...")
    config = ModelConfig(entry="predict.py:P", train_entry="train.py:train")
    listed, configured = (msgspec.json.encode(each).decode() for each in (files, config))
    version = await rows.version(database, workshop.model_id, id="v", files=listed, config=configured, streams=True)
    training = new_id()
    await rows.insert(database, "training_queue", queue=training, version_queue=version)
    release = await rows.release(database, workshop.account_id, version, streams=True)
    return SimpleNamespace(version=version, training=training, release=release)


@pytest.fixture
async def training(workshop, base):
    """One that this worker runs."""

    async def make(**changes):
        columns = {
            "account_id": workshop.account_id,
            "model": f"{workshop.account_id}/m",
            "queue": base.training,
            "kind": "training",
            "destination": f"{workshop.account_id}/m",
            "status": "processing",
            "worker": workshop.worker,
            **changes,
        }
        prediction = await rows.prediction(workshop.database, **columns)
        job = Job(id=prediction, attempt=1, account=workshop.account_id, gateway="g", created_at=0)
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
        trainings = TrainingOutputs(
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


async def test_the_same_weights_in_two_destinations_are_two_versions(workshop, training, ended):
    await rows.model(workshop.database, workshop.account_id, name="n")
    outputs = [await ended(await training(destination=f"{workshop.account_id}/{name}")) for name in ("m", "n", "n")]
    ids = [output["version"].partition(":")[2] for output in outputs]
    assert ids[0] != ids[1] == ids[2]
    made = await workshop.database.fetch("SELECT id, digest FROM version WHERE id = ANY ($1)", ids)
    assert len(made) == 2
    assert len({version["digest"] for version in made}) == 1


async def test_a_version_made_of_somebody_elses_remembers_whose_code_it_is(workshop, training, ended):
    account = await rows.account(workshop.database, new_id())
    model = await rows.model(workshop.database, account, name="n", visibility="private")
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
    with pytest.raises(RunFailed):
        await ended(await training(**changes))
    assert len(await workshop.versions()) == 1


async def test_weights_that_are_no_file_are_refused(workshop, training, ended):
    with pytest.raises(RunFailed, match="regular file"):
        await ended(await training(), path="/dev/zero")
    assert len(await workshop.versions()) == 1


async def test_other_outputs_pass_through(workshop, base, training, ended):
    run = await training(queue=base.version, kind="prediction")
    assert await ended(run) == {"weights": "https://x.example/w", "loss": 0.5}
    assert (await ended(await training(), files=(FileRef("/log", "log.txt"),)))["weights"] == "https://x.example/w"
    assert len(await workshop.versions()) == 1
