"""A training on a running system: its weights become a version of the destination, which runs with them."""

from pathlib import Path

import pytest

from tidemill.testing.running import until

TRAINABLE = Path(__file__).parent.parent / "models" / "contract_train"


@pytest.fixture(scope="module")
def trainable(stack):
    stack.tidemill("push", "local/e2e-trainable", str(TRAINABLE))
    return "local/e2e-trainable"


async def call(session, method, path, body=None, **headers):
    async with session.request(method, f"/v1{path}", json=body, headers=headers) as response:
        answer = await response.json()
        assert response.status < 300, answer
        return answer


async def test_a_training_makes_a_version_that_runs_with_its_weights(stack, trainable):
    async with stack.session() as session:
        version = (await call(session, "GET", f"/models/{trainable}"))["latest_version"]["id"]
        destination = {"owner": "local", "name": "e2e-trained", "visibility": "private", "hardware": "cpu"}
        await call(session, "POST", "/models", destination)
        sent = {"destination": "local/e2e-trained", "input": {"greeting": "ahoy", "steps": 2}}
        training = await call(session, "POST", f"/models/{trainable}/versions/{version}/trainings", sent)

        async def ended():
            answer = await call(session, "GET", f"/trainings/{training['id']}")
            return answer if answer["status"] not in {"starting", "processing"} else None

        done = await until("the training to end", ended)
        assert done["status"] == "succeeded", done
        trained = (await call(session, "GET", "/models/local/e2e-trained"))["latest_version"]["id"]
        assert done["output"]["version"] == f"local/e2e-trained:{trained}"
        async with session.get(done["output"]["weights"]) as response:
            assert await response.text() == "ahoy"
        said = await call(
            session, "POST", "/predictions", {"version": trained, "input": {"name": "you"}}, Prefer="wait"
        )
        assert said["output"] == "ahoy you"

        # And a training of what was trained takes the place of its weights.
        sent = {"destination": "local/e2e-trained", "input": {"greeting": "hey"}}
        training = await call(session, "POST", f"/models/local/e2e-trained/versions/{trained}/trainings", sent)
        done = await until("the second training to end", ended)
        assert done["status"] == "succeeded", done
        again = {"version": done["output"]["version"], "input": {"name": "you"}}
        assert (await call(session, "POST", "/predictions", again, Prefer="wait"))["output"] == "hey you"
