"""Every step is broken off at each of its calls, before and after it had its effect, and then done again."""

from datetime import UTC, datetime, timedelta

import pytest

from tidemill.runtime.objects.store import ObjectStoreError
from tidemill.storage_janitor.handlers.steps import run_once
from tidemill.storage_janitor.triggers import ORPHANS, retention

STEPS = (*retention(), *ORPHANS)
CALLS_LIMIT = 100


class BrokenError(OSError):
    """The janitor is gone at this point."""


class Fragile:
    """A port whose calls are counted over all ports; the n-th one breaks, before or after its effect."""

    def __init__(self, port, fuse):
        self._port, self._fuse = port, fuse

    def __getattr__(self, name):
        call = getattr(self._port, name)
        if name == "transaction":
            self._fuse.before()
            return call

        async def counted(*args):
            self._fuse.before()
            answer = await call(*args)
            self._fuse.after()
            return answer

        return counted


class Fuse:
    def __init__(self, at, *, effect):
        self.count, self._at, self._effect = 0, at, effect

    def before(self):
        self.count += 1
        if self.count == self._at and not self._effect:
            raise BrokenError

    def after(self):
        if self.count == self._at and self._effect:
            raise ObjectStoreError("the answer was lost")


async def furnish(world):
    """Something for every step, and something beside it that must stay."""
    gone = [await world.prediction(files=["a"]), await world.prediction(status="failed")]
    await world.delivery(gone[0], "delivered")
    await world.prediction(files=["web"], source="web")
    await world.put(f"outputs/{gone[1]}/unnamed")
    await world.put("outputs/unknown/a")
    await world.file(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await world.file(expires_at=datetime.now(UTC) + timedelta(hours=1))
    await world.push("1" * 64)
    await world.blob("2" * 64)
    await world.blob("3" * 64)
    await world.version("3" * 64)


async def state(world):
    counts = {
        "predictions": "SELECT count(*) FROM prediction WHERE data_removed",
        "bodies": "SELECT count(*) FROM webhook_delivery WHERE body IS NOT NULL",
        "files": "SELECT count(*) FROM file",
        "pushes": "SELECT count(*) FROM push WHERE status = 'failed'",
        "blobs": "SELECT count(*) FROM blob",
        "later": "SELECT count(*) FROM removal_due_later",
    }
    seen = {name: await world.database.value(sql) for name, sql in counts.items()}
    return {
        **seen,
        "objects": len([key for prefix in ("outputs/", "files/", "blobs/") for key in await world.keys(prefix)]),
    }


DONE = {"predictions": 2, "bodies": 0, "files": 1, "pushes": 1, "blobs": 1, "later": 0, "objects": 3}


async def test_a_round_done_twice_ends_where_one_does(old_enough, world):
    await furnish(world)
    await run_once(old_enough, STEPS)
    assert await state(world) == DONE
    await run_once(old_enough, STEPS)
    assert await state(world) == DONE


@pytest.mark.parametrize("effect", [False, True])
async def test_steps_broken_off_anywhere_are_made_good_by_the_next_round(old_enough, world, clean, effect):
    for nth in range(1, CALLS_LIMIT):  # of each step, one after the other
        await clean()
        await furnish(world)
        broken = 0
        for step in STEPS:
            fuse = Fuse(nth, effect=effect)
            ports = {name: Fragile(getattr(old_enough, name), fuse) for name in ("database", "objects")}
            await run_once(old_enough._replace(**ports), [step])
            broken += fuse.count >= nth
        await run_once(old_enough, STEPS)
        assert await state(world) == DONE, f"broken off at call {nth}"
        if not broken:
            break
    assert 5 < nth < CALLS_LIMIT - 1


async def test_a_step_that_fails_does_not_keep_the_others_from_running(old_enough, world, monkeypatch):
    await furnish(world)

    async def away(self, prefix):
        raise ObjectStoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(type(old_enough.objects), "list", away)
        await run_once(old_enough, STEPS)
    assert (await state(world))["pushes"] == 1
    await run_once(old_enough, STEPS)
    assert await state(world) == DONE
