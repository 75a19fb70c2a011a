"""Predictions that share one call of a model under `@cog.batch`, on a running system: each has its own end."""

import asyncio
import json

import pytest

MODEL = "/v1/models/local/e2e_batch/predictions"


@pytest.fixture
async def predict(stack):
    async with stack.session() as session:

        async def one(**values):
            async with session.post(MODEL, json={"input": values}, headers={"Prefer": "wait=60"}) as response:
                answer = await response.json()
                assert response.status == 201, answer
                return answer

        await one(text="warm")
        yield one


async def test_predictions_made_together_share_calls_and_get_their_own_outputs(predict):
    texts = [f"text {number}" for number in range(48)]
    alone = await predict(text="text 7")
    found = await asyncio.gather(*(predict(text=text) for text in texts))
    assert {each["status"] for each in found} == {"succeeded"}
    assert [each["output"]["text"] for each in found] == texts
    assert found[7]["output"]["score"] == pytest.approx(alone["output"]["score"], rel=1e-4)
    sizes = [each["metrics"]["batch_size"] for each in found]
    assert max(sizes) > 1
    assert max(sizes) <= 16
    for each, size in zip(found, sizes, strict=True):
        assert each["logs"] == f"scoring {size} texts\n"
        assert each["metrics"]["predict_time"] > 0


async def test_one_that_fails_fails_alone(predict):
    empty, *others = await asyncio.gather(*(predict(text=text) for text in ["", "a", "b", "c"]))
    assert (empty["status"], empty["error"]) == ("failed", "an empty text has no score")
    assert [each["output"]["text"] for each in others] == ["a", "b", "c"]


async def test_files_and_inputs_that_keep_predictions_apart(predict):
    inputs = [{"text": f"file{number}", "as_file": True, "scale": float(number % 2)} for number in range(6)]
    found = await asyncio.gather(*(predict(**each) for each in inputs))
    assert [each["error"] for each in found] == [None] * 6
    names = [each["output"]["file"].rpartition("/")[2].partition("?")[0] for each in found]
    assert names == [f"file{number}.txt" for number in range(6)]


async def test_a_canceled_one_leaves_the_others_alone(stack, predict):
    async with stack.session() as session:
        async with session.post(MODEL, json={"input": {"text": "gone"}}) as response:
            url = json.loads(await response.text())["urls"]["cancel"]
        others = [asyncio.create_task(predict(text=text)) for text in "xyz"]
        async with session.post(url) as response:
            assert response.status == 200
    assert [each["output"]["text"] for each in await asyncio.gather(*others)] == ["x", "y", "z"]


async def test_one_that_ends_the_process_takes_nobody_with_it(predict):
    poison, *others = await asyncio.gather(*(predict(text=text) for text in ["crash", "a", "b", "c", "d"]))
    assert poison["status"] == "failed"
    assert "signal 11" in poison["error"]
    assert [each["output"]["text"] for each in others] == ["a", "b", "c", "d"]
