"""One account's load and the events of the others, on a stack of its own whose stream of events is small."""

import nats
import pytest

from tidemill.testing.running import RunningStack, until

EVENTS_BYTES = 1_000_000
# Of predictions, one batch after the other: their events are more than the stream holds, and what comes while the
# janitor is at it fits in the room that it leaves.
BATCH = 25
BATCHES = 70
MODEL = "local/echo"
PREDICT = """from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        return text
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    directory = tmp_path_factory.mktemp("event-shares")
    settings = {"TIDEMILL_EVENTS_BYTES": str(EVENTS_BYTES), "TIDEMILL_EVENTS_EVERY_S": "0.2"}
    running = RunningStack(directory / "home", settings)
    (directory / "model").mkdir()
    (directory / "model" / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    (directory / "model" / "predict.py").write_text(PREDICT)
    try:
        running.up("--no-catalogue")
        running.tidemill("push", "--public", MODEL, str(directory / "model"))
        yield running
    finally:
        running.down()


class Account:
    """Asks the API with a token of its own."""

    def __init__(self, stack, name):
        stack.tidemill("account", "create", "--unlimited", name)
        self.token = stack.tidemill("token", "create", "--print", name).strip()
        self._stack = stack

    async def ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            self._stack.session() as http,
            http.request(method, f"/v1{path}", json=body, headers=headers) as response,
        ):
            assert response.ok, await response.text()
            return await response.json()

    async def predict(self, count):
        items = [{"version": MODEL, "input": {"text": str(number)}} for number in range(count)]
        made = await self.ask("POST", "/predictions/batch", {"predictions": items})
        assert all(each["status"] == 201 for each in made["results"]), made
        last = made["results"][-1]["prediction"]["id"]

        async def ended():
            return (await self.ask("GET", f"/predictions/{last}"))["status"] == "succeeded"

        await until("the last to end", ended, within_s=100)

    async def consumer(self):
        return await self.ask("POST", "/event-consumers", {"name": "mine", "events": ["prediction"]})

    async def take(self, consumer):
        """The ends that the consumer brings until no more come."""
        events, ids = (await self.ask("GET", "/account"))["events"], set()
        client = await nats.connect(events["url"], token=self.token, inbox_prefix=events["inbox_prefix"].encode())
        try:
            stream = client.jetstream(domain=events["jetstream_domain"])
            pulling = await stream.pull_subscribe_bind(consumer=consumer["consumer"], stream=consumer["stream"])
            while True:
                try:
                    messages = await pulling.fetch(100, timeout=5)
                except TimeoutError:
                    return ids
                for message in messages:
                    ids.add(message.headers["ce-id"])
                    await message.ack()
        finally:
            await client.close()


async def test_a_heavy_account_leaves_the_others_their_events_and_is_told_what_it_missed(small):
    heavy, light = Account(small, "heavy"), Account(small, "light")
    theirs, mine = await heavy.consumer(), await light.consumer()
    await light.predict(5)
    for _ in range(BATCHES):
        await heavy.predict(BATCH)
    state = await until("the heavy one to be trimmed", lambda: _missed(heavy, theirs), within_s=60)
    assert state["missed_since"] < state["missed_until"]
    assert len({each for each in await light.take(mine) if each.endswith("completed")}) == 5
    untouched = await light.ask("GET", f"/event-consumers/{mine['id']}")
    assert (untouched["missed"], untouched["missed_since"], untouched["missed_until"]) == (0, None, None)
    got = await heavy.take(theirs)
    state = await heavy.ask("GET", f"/event-consumers/{theirs['id']}")
    ends = BATCHES * BATCH
    assert 0 < len({each for each in got if each.endswith("completed")}) < ends
    assert len(got) + state["missed"] >= ends  # and the starts of those that did not end at once


async def _missed(account, consumer):
    state = await account.ask("GET", f"/event-consumers/{consumer['id']}")
    return state if state["missed"] else None
