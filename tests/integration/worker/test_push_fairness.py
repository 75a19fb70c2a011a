"""Pushes of many accounts: none waits for another's for longer than for a place, and everybody is told his place."""

import asyncio
import contextlib
import hashlib

import pytest

from tidemill.runtime.push_queue import SQL_WAITING
from tidemill.testing import rows

COG = b"predict: 'predict.py:Predictor'\n"
PLACES = f"WITH {SQL_WAITING} SELECT id, place FROM waiting_push ORDER BY place"


@pytest.fixture
async def accounts(workshop):
    return [await rows.account(workshop.database, f"account-{number}") for number in range(3)]


@pytest.fixture
async def files(workshop):
    """Makes the files of a model that is like no other."""
    count = iter(range(1000))

    async def make():
        return await workshop.upload(cog__yaml=COG, predict__py=f"x = {next(count)}".encode())

    return make


async def places(workshop):
    return [row["id"] for row in await workshop.database.fetch(PLACES)]


@contextlib.asynccontextmanager
async def running(builder):
    task = asyncio.create_task(builder.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def ended(workshop, push_id):
    async with asyncio.timeout(60):
        while (row := await workshop.row(push_id))["completed_at"] is None:
            await asyncio.sleep(0.02)
    return row["status"]


async def test_pushes_take_turns_over_accounts_and_are_built_in_the_order_that_is_told(workshop, files, accounts):
    workshop.announce = lambda *_: asyncio.sleep(0)
    workshop.pushes = workshop.builder(workshop.worker)
    many, some, one = accounts
    order = [await workshop.push(await files(), account=account) for account in (many, many, many, some, some, one)]
    fair = [order[index] for index in (0, 3, 5, 1, 4, 2)]
    for built in range(len(fair)):
        assert await places(workshop) == fair[built:]
        assert await workshop.pushes.build_next()
        assert (await workshop.row(fair[built]))["status"] == "succeeded"
    assert await places(workshop) == []


async def test_who_was_served_last_waits_behind_who_comes_later(workshop, files, accounts):
    workshop.announce = lambda *_: asyncio.sleep(0)
    workshop.pushes = workshop.builder(workshop.worker)
    await workshop.push(await files(), account=accounts[0])
    assert await workshop.pushes.build_next()
    again = await workshop.push(await files(), account=accounts[0])
    other = await workshop.push(await files(), account=accounts[1])
    assert await places(workshop) == [other, again]


async def test_an_import_that_never_ends_holds_no_other_accounts_push(workshop, files, accounts):
    workshop.announce = lambda *_: asyncio.sleep(0)
    hostile = await files()
    answer = workshop.inspector.answer
    code = {file.sha256 for file in hostile if file.path == "predict.py"}

    async def inspect(directory, *_args, **_trust):
        if hashlib.sha256((directory / "predict.py").read_bytes()).hexdigest() in code:
            await asyncio.Event().wait()
        return answer, ""

    workshop.inspector.inspect = inspect
    stuck = await workshop.push(hostile, account=accounts[0])
    his_next = await workshop.push(await files(), account=accounts[0])
    others = [await workshop.push(await files(), account=account) for account in accounts[1:] * 2]
    async with running(workshop.builder(workshop.worker, at_once=2)):
        assert [await ended(workshop, each) for each in others] == ["succeeded"] * 4
        assert (await workshop.row(stuck))["status"] == "building"
        # A place is free, and he has one already.
        assert (await workshop.row(his_next))["status"] == "queued"
        assert await places(workshop) == [his_next]


async def test_several_are_built_at_once_and_no_more_than_so_many(workshop, files):
    workshop.announce = lambda *_: asyncio.sleep(0)
    answer, under_way, most = workshop.inspector.answer, set(), 0
    full, go_on = asyncio.Event(), asyncio.Event()

    async def inspect(directory, *_args, **_trust):
        nonlocal most
        under_way.add(directory)
        most = max(most, len(under_way))
        if len(under_way) == 3:
            full.set()
        await go_on.wait()
        under_way.discard(directory)
        return answer, ""

    workshop.inspector.inspect = inspect
    accounts = [await rows.account(workshop.database, f"author-{number}") for number in range(7)]
    pushes = [await workshop.push(await files(), account=account) for account in accounts]
    async with running(workshop.builder(workshop.worker, at_once=3)), asyncio.timeout(60):
        await full.wait()
        go_on.set()
        assert [await ended(workshop, each) for each in pushes] == ["succeeded"] * 7
    assert most == 3


async def test_a_build_that_breaks_ends_the_task_with_its_error(workshop, files):
    async def inspect(*_args, **_trust):
        raise ZeroDivisionError

    workshop.inspector.inspect = inspect
    await workshop.push(await files())
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(60):
            await workshop.pushes.run()
