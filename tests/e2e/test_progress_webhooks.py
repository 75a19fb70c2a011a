"""Webhooks of what a prediction produces while it runs: each body holds what it is about."""

import itertools
import json

import pytest

from tidemill.testing.running import until

PREDICT = """import time
from collections.abc import Iterator

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, count: int) -> Iterator[int]:
        for number in range(1, count + 1):
            print(f"made {number}", flush=True)
            yield number
            time.sleep(1)
        while True:  # until it is canceled
            time.sleep(0.1)
"""
COUNT = 3


@pytest.fixture(scope="module")
def counter(stack, tmp_path_factory):
    directory = tmp_path_factory.mktemp("counter")
    (directory / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    (directory / "predict.py").write_text(PREDICT)
    stack.tidemill("push", "--public", "local/e2e-counter", str(directory))
    return "local/e2e-counter"


@pytest.mark.parametrize(
    ("event", "whole"),
    [("output", list(range(1, COUNT + 1))), ("logs", "".join(f"made {n}\n" for n in range(1, COUNT + 1)))],
)
async def test_each_body_holds_what_it_is_about(stack, counter, receiver, event, whole):
    def bodies():
        return [json.loads(delivery.body) for delivery in receiver.deliveries]

    body = {"input": {"count": COUNT}, "webhook": receiver.url, "webhook_events_filter": [event, "completed"]}
    async with stack.session() as session:
        async with session.post(f"/v1/models/{counter}/predictions", json=body) as response:
            assert response.status == 201, await response.text()
            prediction = (await response.json())["id"]
        # It produces nothing any more, so that no later event could tell of the last item.
        await until("all of it", lambda: any(each[event] == whole for each in bodies()), within_s=100)
        async with session.post(f"/v1/predictions/{prediction}/cancel") as response:
            assert response.ok
    await until("the end", lambda: bodies()[-1]["status"] == "canceled")
    *progress, end = bodies()
    seen = [each[event] for each in progress]
    assert all(seen), "an event came before what it is about"
    assert all(more[: len(less)] == less for less, more in itertools.pairwise(seen))
    assert end[event] == whole
