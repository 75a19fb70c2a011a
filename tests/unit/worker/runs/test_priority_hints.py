import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.events import Cancel, Job
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import now
from tidemill.testing.tasks import shortly
from tidemill.worker.runs.priority_hints import PriorityHints, WaitingPrediction, choose
from tidemill.worker.runs.urgent_store import ClaimedAtHint

WAITING = st.builds(WaitingPrediction, st.text("abc", min_size=1, max_size=2), st.integers(0, 10))


def job(name, **more):
    return Job(id=name, attempt=1, account="a", gateway="g", input=msgspec.Raw(b"{}"), created_at=now(), **more)


@given(st.lists(WAITING, min_size=1))
def test_the_more_urgent_goes_first_and_of_equals_the_older(waiting):
    chosen = choose(waiting)
    assert chosen in waiting
    assert chosen.priority == max(each.priority for each in waiting)
    assert chosen.id == min(each.id for each in waiting if each.priority == chosen.priority)


def test_nothing_runs_when_nothing_waits():
    assert choose([]) is None


def test_only_hints_of_noted_accounts_and_those_with_a_priority_ask():
    turns = PriorityHints()
    assert not turns.is_contested("q", job("x"))
    assert turns.is_contested("q", job("x", priority=1))
    turns.note("q", ["a"])
    assert turns.is_contested("q", job("x"))
    assert not turns.is_contested("other", job("x"))
    turns.forget("q")
    assert not turns.is_contested("q", job("x"))


def test_what_was_heard_while_the_rows_were_asked_stays_noted():
    turns = PriorityHints()
    turns.note("q", ["a"])
    asked = turns.number("q", "a")
    turns.note("q", ["a"])
    turns.settle("q", "a", asked)
    assert turns.is_contested("q", job("x"))
    turns.settle("q", "a", turns.number("q", "a"))
    assert not turns.is_contested("q", job("x"))


async def test_an_urgent_prediction_takes_the_turn_of_an_ordinary_one(new_world):
    world = new_world()
    world.table.priority_hints.note("q", ["a"])
    world.writer.turns["ordinary"] = ClaimedAtHint(job=job("urgent", priority=5))
    world.job("ordinary")
    assert world.instance.room == 0  # kept while the rows are asked
    await shortly(lambda: world.instance.child.sent)
    assert world.instance.child.sent == ["urgent"]
    assert not world.writer.claimed  # the turn claimed it
    world.done("urgent")
    assert world.ended["urgent"].status is Status.SUCCEEDED
    world.writer.turns["urgent"] = ClaimedAtHint(job=job("ordinary"))
    world.job("urgent", priority=5)
    await shortly(lambda: world.instance.child.sent == ["urgent", "ordinary"])


async def test_a_turn_with_nothing_left_to_run_frees_its_place(new_world):
    world = new_world()
    world.job("gone", priority=5)
    await world.engine.wait_until_idle()
    assert world.instance.room == 1
    assert not world.instance.child.sent


async def test_a_claim_for_an_instance_that_went_away_is_given_back(new_world):
    world = new_world()
    world.writer.turns["u"] = ClaimedAtHint(job=job("u", priority=5))
    world.job("u", priority=5)
    world.crash()
    await world.engine.wait_until_idle()
    assert world.writer.unclaimed == ["u"]
    assert not world.table.runs


async def test_claimed_runs_that_a_crash_finds_waiting_are_given_back_and_lose_no_attempt(new_world):
    world = new_world()
    world.warm_up()
    for name in ("a", "b"):
        world.job(name, webhook=True)
    world.crash()
    replacement = world.add()
    await shortly(lambda: "b" in replacement.child.sent)
    assert world.writer.unclaimed == ["b"]
    assert world.writer.retried == ["a"]


async def test_a_hint_with_a_priority_survives_the_cancel_of_its_prediction(new_world):
    """Another prediction of the account may be waiting for its turn."""
    world = new_world()
    world.job("busy")
    world.job("u", priority=5)
    world.job("o")
    await world.cancels.on_cancel(Cancel(id="u", attempt=1))
    await world.cancels.on_cancel(Cancel(id="o", attempt=1))
    assert [each.id for each in world.table.queue("q").jobs] == ["u"]
