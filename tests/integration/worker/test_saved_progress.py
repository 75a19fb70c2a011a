"""What a run has produced is in its row before webhooks are told of it: their bodies are made of rows."""

import msgspec
import pytest

from tidemill.contracts import subjects
from tidemill.contracts.events import Job
from tidemill.contracts.ids import new_id
from tidemill.runtime.clock import now
from tidemill.testing import rows
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_writer import RunWriter


class Hints:
    """A bus that notes what the row holds at the moment when it is told of it."""

    def __init__(self, database):
        self._database = database
        self.told = []

    async def send(self, subject, event):
        assert subject == subjects.WEBHOOK
        row = await self._database.row("SELECT output::text, logs FROM prediction WHERE id = $1", event.id)
        self.told.append((event.event, *row))


@pytest.fixture
async def database(worker_servers):
    await rows.clear(worker_servers.database)
    await rows.account(worker_servers.database, "a")
    return worker_servers.database


@pytest.fixture
async def new_run(database):
    """A claimed run of a prediction in the state that the test says, with the records of its worker."""

    async def make(status="processing", **job):
        worker, hints = await rows.worker(database), Hints(database)
        held = {"worker": worker} if status == "processing" else {}
        prediction = await rows.prediction(database, status=status, **held)
        about = {"id": prediction, "attempt": 1, "account": "a", "gateway": "g", "created_at": now(), "webhook": True}
        run = Run(Job(**{**about, **job}), "q")
        run.claimed = True
        return run, RunWriter(worker, database, hints), hints

    return make


def say(run, *items, logs=()):
    for item in items:
        assert run.add_item(msgspec.json.encode(item))
    for text in logs:
        run.add_log(text)


async def test_webhooks_are_told_of_output_and_logs_once_the_row_has_them(new_run):
    run, records, hints = await new_run()
    say(run, 1)
    await records.save([run])
    say(run, 2, logs=["a\n"])
    await records.save([run])
    say(run, logs=["b\n"])
    await records.save([run])
    assert hints.told == [
        ("output", "[1]", ""),
        ("output", "[1,2]", "a\n"),
        ("logs", "[1,2]", "a\n"),
        ("logs", "[1,2]", "a\nb\n"),
    ]
    assert not run.dirty


async def test_predictions_without_a_webhook_send_no_hints(new_run):
    run, records, hints = await new_run(webhook=False)
    say(run, 1)
    await records.save([run])
    assert hints.told == []
    assert not run.dirty


async def test_what_the_row_did_not_take_is_saved_and_told_when_it_does(new_run, database):
    run, records, hints = await new_run(status="starting")  # the claim is on its way
    say(run, 1, logs=["a\n"])
    await records.save([run])
    assert hints.told == []
    assert run.dirty
    await database.execute(
        "UPDATE prediction SET status = 'processing', worker = (SELECT id FROM worker) WHERE id = $1", run.job.id
    )
    await records.save([run])
    assert hints.told == [("output", "[1]", "a\n"), ("logs", "[1]", "a\n")]
    assert not run.dirty


async def test_progress_of_an_earlier_attempt_tells_nothing(new_run, database):
    run, records, hints = await new_run()
    await database.execute("UPDATE prediction SET attempt = 2 WHERE id = $1", run.job.id)
    say(run, 1)
    await records.save([run])
    assert hints.told == []
    assert await database.value("SELECT output FROM prediction WHERE id = $1", run.job.id) is None


async def test_a_prediction_of_another_worker_is_not_written(new_run, database):
    run, records, hints = await new_run()
    await database.execute("UPDATE prediction SET worker = $2 WHERE id = $1", run.job.id, new_id())
    say(run, 1)
    await records.save([run])
    assert hints.told == []
