"""Trainings on a running system, by the official clients too: the weights become a version of the destination, which
runs with them."""

import re
from pathlib import Path

import pytest

from tidemill.testing.running import until

MODELS = Path(__file__).parent.parent / "models"
TRAINABLE = MODELS / "contract_train"
WRITER = MODELS.parent.parent / "deploy" / "catalogue" / "writer"


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


@pytest.fixture(scope="module")
def learner(stack):
    stack.tidemill("push", "local/e2e-learner", str(MODELS / "train_text"))
    return "local/e2e-learner"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "few words.txt"
    path.write_text("ahoy there")
    return path


@pytest.mark.parametrize("client", ["python_1", "python_2", "javascript"])
async def test_a_client_trains_on_a_file(request, client, learner, text):
    destination = f"local/e2e-learned-{client.replace('_', '-')}"
    program = request.getfixturevalue(client)
    done = await program(
        "train", model=learner, path=str(text), given={"steps": 4}, destination=destination, then={"number": 1}
    )
    assert (done["status"], done["error"]) == ("succeeded", None), done
    assert done["output"]["version"] == f"{destination}:{done['latest']}"
    assert done["then"] == "THERE"
    assert "learning: 100%" in done["logs"]
    assert re.search(r"read .*few.words\.txt", done["logs"]), done["logs"]


async def test_a_training_that_fails_says_why_and_makes_no_version(python_1, learner, text):
    text.write_text(" ")
    done = await python_1(
        "train", model=learner, path=str(text), given={}, destination="local/e2e-learned-nothing", then={}
    )
    assert (done["status"], done["output"], done["latest"]) == ("failed", None, None)
    assert "has no words" in done["error"]


async def test_the_writer_learns_from_a_text(stack, python_1, tmp_path):
    stack.tidemill("push", "local/e2e-writer", str(WRITER))
    manual = tmp_path / "manual.txt"
    line = "The kettle of Zanzibar sang to the robot. The robot poured the tea, and the kettle sang again.\n"
    manual.write_text("".join(f"Recipe {number}. {line}" for number in range(60)))
    done = await python_1(
        "train",
        model="local/e2e-writer",
        path=str(manual),
        given={"steps": 12, "learning_rate": 0.002},
        destination="local/e2e-own-writer",
        then={"prompt": "Recipe 7.", "max_tokens": 60, "temperature": 0.7, "seed": 3},
    )
    assert done["status"] == "succeeded", done
    before, after = map(
        float, re.search(r"loss on the text: ([\d.]+) .* before, ([\d.]+) after", done["logs"]).groups()
    )
    assert after < before / 2
    assert "100%|" in done["logs"]
    assert {"kettle", "robot", "sang"} & set(re.findall(r"[a-z]+", "".join(done["then"])))
