import asyncio
import json
import os
from types import SimpleNamespace

import msgspec
import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.events import Cancel, Job
from tidemill.contracts.limits import OUTPUT_LIMIT_BYTES
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import now
from tidemill.testing.tasks import shortly
from tidemill.worker.runs import frame_handler, watchdog
from tidemill.worker.runs.instance import AHEAD
from tidemill.worker.runs.run import METRICS_CUT, RunFailed
from tidemill.worker.runs.run_ends import STOPPED


async def test_a_quick_run_is_never_claimed(new_world):
    world = new_world()
    world.job("a")
    assert world.instance.child.sent == ["a"]
    world.done("a", {"x": [1]})
    assert not world.writer.claimed
    assert world.ended["a"].status is Status.SUCCEEDED
    assert json.loads(world.ended["a"].output) == {"x": [1]}
    await world.engine.wait_until_idle()


async def test_what_lasts_is_claimed(new_world):
    world = new_world()
    world.job("a")
    await shortly(lambda: world.writer.claimed)
    world.done("a")
    assert world.ended["a"].status is Status.SUCCEEDED


async def test_a_run_that_must_be_announced_is_claimed_at_once(new_world):
    world = new_world()
    world.job("a", webhook=True)
    assert world.writer.claimed == ["a"]


async def test_a_slow_child_gets_one_at_a_time_and_a_quick_one_is_sent_ahead(new_world):
    world = new_world()
    for number in range(60):
        world.job(f"{number:02}")
    assert len(world.instance.child.sent) == 1
    for number in range(20):
        world.done(f"{number:02}")
    assert len(world.instance.runs) > 1
    assert len(world.instance.runs) <= 1 + AHEAD
    assert world.instance.child.sent == sorted(world.instance.child.sent)


async def test_a_repeated_hint_runs_once(new_world):
    world = new_world()
    world.job("a")
    world.job("a")
    assert world.instance.child.sent == ["a"]
    world.done("a")
    assert len(world.writer.ended) == 1


async def test_a_deadline_that_has_passed_aborts(new_world):
    world = new_world()
    stopped = STOPPED.labels("deadline")._value.get
    before = stopped()
    world.job("a", deadline=now() - 1)
    assert stopped() == before + 1
    assert world.ended["a"].status is Status.ABORTED
    assert world.ended["a"].error_code == ErrorCode.DEADLINE
    assert not world.instance.child.sent


async def test_a_cancel_from_outside_stops_the_run_and_writes_nothing(new_world):
    world = new_world()
    world.job("a")
    await world.cancels.on_cancel(Cancel(id="a", attempt=1))
    assert world.instance.child.canceled == ["a"]
    world.done("a", status="canceled")
    assert not world.writer.ended
    await world.engine.wait_until_idle()


async def test_a_cancel_of_an_earlier_attempt_leaves_a_later_one_alone(new_world):
    world = new_world()
    job = Job(id="a", attempt=2, account="a", gateway="g", input=msgspec.Raw(b"{}"), created_at=now())
    world.engine.on_job("q", msgspec.json.encode(job), 0)
    await world.cancels.on_cancel(Cancel(id="a", attempt=1))
    assert not world.instance.child.canceled


async def test_a_claim_that_is_lost_throws_the_result_away(new_world):
    world = new_world()
    world.job("a", webhook=True)
    world.writer.on_lost["a"](world.table.runs["a"])
    world.done("a")
    assert not world.writer.ended


async def test_a_crash_begins_the_next_attempt_and_spares_what_was_sent_ahead(new_world):
    world = new_world()
    world.warm_up()
    for name in ("a", "b", "c"):
        world.job(name)
    other = world.instance
    world.crash()
    replacement = world.add()
    assert replacement is not other
    await shortly(lambda: world.writer.retried == ["a"])
    assert "b" in replacement.child.sent


async def test_a_second_crash_fails_the_prediction(new_world):
    world = new_world()
    job = Job(id="a", attempt=2, account="a", gateway="g", input=msgspec.Raw(b"{}"), created_at=now())
    world.engine.on_job("q", msgspec.json.encode(job), 0)
    world.crash()
    assert world.ended["a"].status is Status.FAILED
    assert world.ended["a"].error_code == ErrorCode.MODEL_CRASHED


async def test_items_and_logs_add_up(new_world):
    world = new_world()
    world.job("a")
    for word in ("x", "y"):
        world.say(t="output", id="a", value=word)
    world.print("hello\n", "a")
    world.say(t="metric", id="a", key="tokens", value=2, mode="incr")
    world.say(t="metric", id="a", key="tokens", value=3, mode="incr")
    world.done("a", None)
    assert json.loads(world.ended["a"].output) == ["x", "y"]
    assert world.ended["a"].logs == "hello\n"
    assert json.loads(world.ended["a"].metrics)["tokens"] == 5
    assert [frame for _, frame in world.chunks]


async def test_an_iterator_without_items_is_an_empty_answer(new_world):
    world = new_world()
    world.job("a")
    world.done("a", [])
    assert world.ended["a"].output == "[]"


async def test_a_model_that_answers_nothing_has_no_output(new_world):
    world = new_world()
    world.job("a")
    world.done("a", None)
    assert world.ended["a"].output is None


async def test_an_output_over_the_limit_fails(new_world):
    world = new_world()
    world.job("a")
    for _ in range(3):
        world.say(t="output", id="a", value="x" * (OUTPUT_LIMIT_BYTES // 2))
    world.done("a", None, status="canceled")
    assert world.ended["a"].error_code == ErrorCode.OUTPUT_TOO_LARGE


async def test_files_end_a_run_only_when_they_are_stored(new_world):
    world = new_world()
    read, write = os.pipe()
    os.close(write)
    world.job("a")
    world.instance.fds.append(read)
    world.done("a", None, files=[{"pointer": "", "name": "x.wav"}])
    await asyncio.sleep(0)
    assert not world.writer.ended
    world.gate.set()
    await world.engine.wait_until_idle()
    assert world.ended["a"].output == '"https://files/1"'


async def test_a_frame_that_announces_files_without_them_is_against_the_rules(new_world):
    world = new_world()
    world.job("a")
    with pytest.raises(ValueError, match="files"):
        world.done("a", None, files=[{"pointer": "", "name": "x"}])


@pytest.mark.parametrize("frame", [b"[]", b"{", b'{"t":"ready"}', b'{"t":"nonsense"}', b'{"t":"output","id":1}'])
async def test_what_a_hostile_child_says_is_refused(new_world, frame):
    world = new_world()
    with pytest.raises((ValueError, msgspec.DecodeError)):
        world.engine.on_frames(world.instance, [frame])


async def test_a_child_that_speaks_of_others_predictions_changes_nothing(new_world):
    world = new_world()
    world.job("a")
    world.done("stranger")
    world.say(t="output", id="stranger", value=1)
    world.print("x", "stranger")
    assert not world.writer.ended
    world.done("a")
    assert list(world.ended) == ["a"]


async def test_a_metric_of_megabytes_is_refused_undecoded(new_world, monkeypatch):
    """Our own child drops it and says so."""
    world = new_world()
    world.job("a")
    large = json.dumps({"t": "metric", "id": "a", "key": "k", "value": ["x" * 1000] * 7000}, separators=(",", ":"))
    monkeypatch.setattr(frame_handler, "decode", None)
    with pytest.raises(ValueError, match="a metric of 7"):
        world.engine.on_frames(world.instance, [large.encode()])


async def test_a_metric_over_what_a_prediction_may_keep_is_dropped_and_said_once(new_world):
    world = new_world()
    world.job("a")
    for _ in range(3):
        world.say(t="metric", id="a", key="k", value="x" * 300_000)
    world.done("a")
    assert world.ended["a"].logs == METRICS_CUT
    assert "k" not in json.loads(world.ended["a"].metrics)


async def test_what_is_no_predictions_is_logged_at_a_bounded_rate(new_world, monkeypatch):
    world, lines = new_world(), []
    logger = SimpleNamespace(info=lambda *_, **more: lines.append(more))
    monkeypatch.setattr(frame_handler, "log", lambda: logger)
    for number in range(5000):
        world.print(f"late {number}\n", "ended")
    assert 0 < len(lines) < 1000


async def test_what_c_code_prints_is_nobodys_where_it_could_be_one_of_several_predictions(new_world):
    world = new_world(concurrency=2)
    world.job("a")
    world.engine.on_output_bytes(world.instance, b"one\n")
    world.job("b")
    world.engine.on_output_bytes(world.instance, b"whose?\n")
    world.done("a")
    world.engine.on_output_bytes(world.instance, b"two\n")
    world.done("b")
    assert [world.ended[name].logs for name in "ab"] == ["one\n", "two\n"]


async def test_half_a_character_of_c_code_ends_with_its_prediction(new_world):
    world = new_world()
    for name in "ab":
        world.job(name)
        world.engine.on_output_bytes(world.instance, b"half \xc3")
        world.done(name)
    world.job("c")
    world.engine.on_output_bytes(world.instance, b"\xa9 whole\n")
    world.done("c")
    assert [world.ended[name].logs for name in "ab"] == ["half \N{REPLACEMENT CHARACTER}"] * 2
    assert world.ended["c"].logs == "\N{REPLACEMENT CHARACTER} whole\n"


@pytest.mark.parametrize(("account_s", "limit_s"), [(None, 100), (10, 10), (200, 100)])
async def test_the_shorter_of_the_workers_and_the_accounts_time_limit_holds(new_world, monkeypatch, account_s, limit_s):
    monkeypatch.setattr(watchdog, "WATCH_S", 0.001)
    world = new_world()
    world.watchdog.set_account_limits({"b": 1} if account_s is None else {"a": account_s, "b": 1})
    world.job("a", webhook=True)
    run = world.table.runs["a"]
    watching = asyncio.create_task(world.watchdog.watch())
    try:
        run.started_at = now() - limit_s + 5
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert run.stop is None
        run.started_at = now() - limit_s - 1
        async with asyncio.timeout(120):
            while run.stop is None:
                await asyncio.sleep(0.001)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert run.stop.code is ErrorCode.TIME_LIMIT
    assert run.stop.error == f"The prediction ran longer than the time limit of {limit_s} s."


async def test_what_a_read_cut_in_two_is_one_character(new_world):
    world = new_world()
    world.job("a")
    for byte in "é€\n".encode():
        world.engine.on_output_bytes(world.instance, bytes([byte]))
    assert world.table.runs["a"].logs_so_far() == "é€\n"


async def test_an_input_that_cannot_be_fetched_fails_with_the_reason(new_world):
    world = new_world(files=True)
    world.prepare_error = RunFailed("image: no such file", ErrorCode.INPUT_FETCH_FAILED)
    world.gate.set()
    world.job("a")
    await world.engine.wait_until_idle()
    assert world.ended["a"].error == "image: no such file"
    assert world.instance.room == 1


async def test_prepared_inputs_are_discarded_at_the_end(new_world):
    world = new_world(files=True)
    world.gate.set()
    world.job("a")
    await shortly(lambda: world.instance.child.sent)
    world.done("a")
    await world.engine.wait_until_idle()
    assert world.discarded == ["a"]
