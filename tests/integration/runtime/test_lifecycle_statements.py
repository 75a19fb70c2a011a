"""Every statement that moves a prediction, over status x attempt x worker, with the table of transitions as the oracle.

All combinations stand in the table at once; a statement gets a batch that asks for each of them, and exactly those may
change that `transition` and the statement's own fence on the worker allow.
"""

import itertools
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from tidemill.contracts.lease import SQL_LOST
from tidemill.contracts.prediction import TERMINAL, PredictionState, Status, transition
from tidemill.runtime.db import Database
from tidemill.runtime.predictions import claims, deletion, ending, progress, removal, requeue
from tidemill.runtime.predictions.claims import Claim
from tidemill.runtime.predictions.fences import Attempt
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.runtime.predictions.progress import Progress
from tidemill.scheduler import store as scheduler_store
from tidemill.testing import rows
from tidemill.testing.servers import migrated
from tidemill.worker.versions.training_store import BASE

CURRENT = 2
ASKED = (1, 2, 3)
MINE, OTHER, LOST = "mine", "other", "lost"
WORKERS = (None, MINE, OTHER, LOST)
COMPLETED = datetime(2026, 1, 1, tzinfo=UTC)


class Case(NamedTuple):
    """A row at attempt CURRENT, and the attempt that the statement asks for."""

    status: Status
    worker: str | None
    asked: int

    @property
    def id(self):
        return f"{self.status}-{self.worker}-{self.asked}"

    @property
    def at(self):
        return PredictionState(self.status, CURRENT)

    @property
    def attempt(self):
        return Attempt(self.id, self.asked)


CASES = [Case(*each) for each in itertools.product(Status, WORKERS, ASKED)]
CLAIMS = [Claim(case.id, case.asked, 5.0) for case in CASES]
ATTEMPTS = [case.attempt for case in CASES]


@pytest.fixture(scope="module")
async def url(tmp_path_factory):
    async with migrated(tmp_path_factory.mktemp("lifecycle")) as server:
        yield server.url


@pytest.fixture
async def database(url):
    async with Database(url) as database:
        await rows.clear(database)
        await rows.account(database, "a")
        for identifier in (MINE, OTHER, LOST):
            await rows.worker(database, id=identifier)
        await database.execute(f"UPDATE worker SET lease_until = {SQL_LOST} WHERE id = $1", LOST)
        for case in CASES:
            ended = case.status in TERMINAL
            await rows.prediction(
                database,
                id=case.id,
                status=case.status.value,
                attempt=CURRENT,
                worker=case.worker,
                output='"before"',
                logs="before",
                started_at=None if case.status is Status.STARTING else COMPLETED - timedelta(seconds=1),
                completed_at=COMPLETED if ended else None,
            )
        yield database


async def positions(database):
    found = await database.fetch("SELECT id, status, attempt FROM prediction")
    return {row["id"]: PredictionState(Status(row["status"]), row["attempt"]) for row in found}


async def changed(database, column):
    """Return the ids of the rows of which the column, as text without quotes, is not what the fixture wrote."""
    statement = f"SELECT id FROM prediction WHERE trim('\"' FROM {column}::text) IS DISTINCT FROM 'before'"
    return {row["id"] for row in await database.fetch(statement)}


def expected(target, fence):
    """Return the position of every row after all cases have asked for `target`, by the table."""
    return {case.id: (transition(case.at, case.asked, target) if fence(case) else None) or case.at for case in CASES}


def moved(target, fence):
    return {case.id for case in CASES if fence(case) and transition(case.at, case.asked, target) is not None}


def anyone(_case):
    return True


def mine_or_unclaimed(case):
    return case.worker in {None, MINE}


def mine(case):
    return case.worker == MINE


def with_lost_worker(case):
    return case.worker in {None, LOST}


async def test_a_claim_needs_an_open_row_of_the_same_attempt(database):
    claimed = await claims.claim(database.dedicated_connection(), MINE, CLAIMS)
    assert set(claimed) == moved(Status.PROCESSING, anyone)
    assert await positions(database) == expected(Status.PROCESSING, anyone)


async def test_a_lost_worker_claims_nothing(database):
    assert not await claims.claim(database.dedicated_connection(), LOST, CLAIMS)
    assert await positions(database) == {case.id: case.at for case in CASES}


async def test_a_priority_claim_takes_only_what_nobody_has(database):
    for case in CASES:
        async with database.transaction() as connection:
            row = await claims.claim_unclaimed(connection, MINE, case.id, 5.0)
        unclaimed = case.worker is None and transition(case.at, CURRENT, Status.PROCESSING) is not None
        assert (row is not None) == unclaimed, case


async def test_a_lost_worker_makes_no_priority_claim(database):
    for case in CASES:
        async with database.transaction() as connection:
            assert await claims.claim_unclaimed(connection, LOST, case.id, 5.0) is None


async def test_only_the_worker_of_the_running_attempt_saves(database):
    saved = [Progress(case.id, case.asked, '"saved"', "", None) for case in CASES]
    await progress.save(database.dedicated_connection(), MINE, saved)
    running = {case.id for case in CASES if mine(case) and case.at == PredictionState(Status.PROCESSING, case.asked)}
    assert await changed(database, "logs") == running
    assert await positions(database) == {case.id: case.at for case in CASES}


@pytest.mark.parametrize("worker", [None, MINE])
@pytest.mark.parametrize("target", sorted(TERMINAL))
async def test_an_end_needs_an_allowed_move_of_the_same_attempt_and_worker(database, target, worker):
    fence = anyone if worker is None else mine_or_unclaimed
    ends = [
        Outcome(id=case.id, attempt=case.asked, status=target, logs="after", worker=worker, completed_at=9.0)
        for case in CASES
    ]
    ended = await ending.end(database.dedicated_connection(), ends)
    assert set(ended) == moved(target, fence)
    assert await positions(database) == expected(target, fence)
    assert await changed(database, "logs") == moved(target, fence)


async def test_an_end_in_the_same_batch_as_its_twin_counts_once(database):
    case = Case(Status.PROCESSING, MINE, CURRENT)
    for status in (Status.FAILED, Status.SUCCEEDED, Status.CANCELED):
        end = Outcome(id=case.id, attempt=CURRENT, status=status, worker=MINE, completed_at=9.0)
        ended = await ending.end(database.dedicated_connection(), [end])
        assert (case.id in ended) == (status is Status.FAILED)
    assert (await positions(database))[case.id] == PredictionState(Status.FAILED, CURRENT)


async def test_a_worker_begins_the_next_attempt_of_its_own_runs_alone(database):
    begun = await requeue.next_attempt_of_own(database.dedicated_connection(), MINE, ATTEMPTS)
    assert begun == moved(Status.STARTING, mine_or_unclaimed)
    assert await positions(database) == expected(Status.STARTING, mine_or_unclaimed)
    assert await changed(database, "output") == begun
    assert await changed(database, "logs") == begun


async def test_the_scheduler_begins_the_next_attempt_of_what_a_lost_worker_ran(database):
    def fence(case):
        return with_lost_worker(case) and case.status is Status.PROCESSING

    begun = await requeue.next_attempt_of_lost(database.dedicated_connection(), ATTEMPTS)
    assert set(begun.values()) == {CURRENT + 1}
    assert set(begun) == moved(Status.STARTING, fence)
    assert await positions(database) == expected(Status.STARTING, fence)
    assert await changed(database, "output") == set(begun)


async def test_giving_back_a_claim_keeps_the_attempt(database):
    back = await requeue.release(database.dedicated_connection(), MINE, ATTEMPTS)
    claims = {case.id for case in CASES if mine(case) and case.at == PredictionState(Status.PROCESSING, case.asked)}
    assert back == claims
    assert await positions(database) == {
        case.id: PredictionState(Status.STARTING, CURRENT) if case.id in claims else case.at for case in CASES
    }


async def test_hints_are_sent_for_what_nobody_has_claimed_alone(database):
    waiting = {case.id for case in CASES if case.status is Status.STARTING and case.worker is None}
    found = await scheduler_store.jobs(database.dedicated_connection(), [case.id for case in CASES])
    assert {each.job.id for each in found} == waiting
    assert {each.job.attempt for each in found} == {CURRENT}


async def test_deletion_takes_what_has_ended_alone(database):
    for case in CASES:
        assert await deletion.delete(database, case.id, "a") == (case.status in TERMINAL), case


async def test_nobody_deletes_what_is_anothers(database):
    await rows.account(database, "b")
    for case in CASES:
        assert not await deletion.delete(database, case.id, "b")


async def test_retention_takes_what_has_ended_alone(database):
    ids = [case.id for case in CASES]
    removed = await removal.remove_due(database, ids, datetime.now(UTC).timestamp(), 3600.0)
    ended = {case.id for case in CASES if case.status in TERMINAL}
    assert removed.predictions == len(ended)
    assert await changed(database, "logs") == ended


async def test_a_deleted_version_takes_what_has_ended_alone(database):
    await removal.remove_of_version(database, [case.id for case in CASES])
    assert await changed(database, "logs") == {case.id for case in CASES if case.status in TERMINAL}


async def test_a_training_makes_a_version_for_its_own_open_attempt_alone(database):
    await rows.model(database, "a", id="m", latest_queue=None)
    await rows.version(database, "m", queue="q")
    await database.execute("UPDATE prediction SET destination = 'a/m'")
    for case in CASES:
        async with database.transaction() as connection:
            found = await connection.fetchrow(BASE, case.id, case.asked, MINE)
        wanted = case.status not in TERMINAL and case.asked == CURRENT and mine_or_unclaimed(case)
        assert (found is not None) == wanted, case
