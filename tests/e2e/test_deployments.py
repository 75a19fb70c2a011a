"""A deployment's whole life on a running system: predict, change while predicting, disable, delete."""

import asyncio

import pytest

from tidemill.testing.running import until

PREDICT = """import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.said = "{said}"

    def predict(self, text: str, seconds: float = 0) -> str:
        time.sleep(seconds)
        return f"{{self.said}} {{text}}"
"""
NAME = "local/e2e-deployed"


class Api:
    def __init__(self, session):
        self._session = session

    async def __call__(self, method, path, body=None, **headers):
        async with self._session.request(method, f"/v1{path}", json=body, headers=headers) as response:
            return response.status, await response.json() if response.status != 204 else None

    async def ok(self, *arguments, **headers):
        status, answer = await self(*arguments, **headers)
        assert status < 300, answer
        return answer


@pytest.fixture
async def api(stack):
    async with stack.session() as session:
        yield Api(session)


@pytest.fixture(scope="module")
def push(stack, tmp_path_factory):
    """Pushes a version that answers with a word of its own; its id."""

    async def make(said):
        directory = tmp_path_factory.mktemp("model")
        (directory / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
        (directory / "predict.py").write_text(PREDICT.format(said=said))
        await asyncio.to_thread(stack.tidemill, "push", NAME, str(directory))
        async with stack.session() as session, session.get(f"/v1/models/{NAME}/versions") as response:
            return (await response.json())["results"][0]["id"]

    return make


async def test_a_deployments_life(api, push):
    first, second = await push("one"), await push("two")
    scale = {"hardware": "cpu", "min_instances": 1, "max_instances": 2}
    made = await api.ok("POST", "/deployments", {"name": "life", "model": NAME, "version": first, **scale})
    path = "/deployments/local/life"
    assert made["current_release"]["number"] == 1

    said = await api.ok("POST", f"{path}/predictions", {"input": {"text": "a"}}, Prefer="wait")
    assert (said["output"], said["deployment"], said["version"]) == ("one a", "local/life", first)

    # The version changes while one runs and others keep coming: none fails, none waits for the boot of the new one.
    slow = await api.ok("POST", f"{path}/predictions", {"input": {"text": "slow", "seconds": 1}})
    changed = await api.ok("PATCH", path, {"version": second})
    assert (changed["current_release"]["number"], changed["current_release"]["version"]) == (2, second)
    outputs = []

    async def says_two():
        answer = await api.ok("POST", f"{path}/predictions", {"input": {"text": "b"}}, Prefer="wait")
        outputs.append(answer["output"])
        return answer["output"] == "two b" and answer["version"] == second

    await until("the new release to take over", says_two)
    assert set(outputs) <= {"one b", "two b"}
    ended = await until("the slow one", lambda: _ended(api, slow["id"]))
    assert ended["output"] == "one slow"

    # Disabled: what runs is canceled, what comes is refused.
    running = await api.ok("POST", f"{path}/predictions", {"input": {"text": "long", "seconds": 60}})
    await api.ok("PATCH", path, {"min_instances": 0, "max_instances": 0})
    ended = await until("the long one", lambda: _ended(api, running["id"]))
    assert (ended["status"], ended["error"]) == ("canceled", "The deployment was disabled.")
    status, problem = await api("POST", f"{path}/predictions", {"input": {"text": "c"}})
    assert (status, problem["title"]) == (422, "Deployment disabled")

    status, problem = await api("DELETE", path)  # it was used just now
    assert status == 409
    await api.ok(
        "POST", "/deployments", {"name": "unused", "model": NAME, "version": first, **scale, "min_instances": 0}
    )
    assert await api("DELETE", "/deployments/local/unused") == (204, None)
    names = {each["name"] for each in (await api.ok("GET", "/deployments"))["results"]}
    assert "life" in names
    assert "unused" not in names


async def _ended(api, prediction):
    answer = await api.ok("GET", f"/predictions/{prediction}")
    return answer if answer["status"] not in {"starting", "processing"} else None


async def test_the_command_makes_changes_and_deletes(command, api, push):
    first = await push("cli one")
    made = command("deployment", "create", "by-command", NAME, "--max", "2")
    assert made.returncode == 0, made.stderr
    assert f"release 1  {NAME}:{first[:12]}" in made.stdout
    second = await push("cli two")
    changed = command("deployment", "update", "local/by-command", "--version", "latest", "--max", "3")
    assert f"release 2  {NAME}:{second[:12]}  cpu  0 to 3 instances" in changed.stdout
    assert "local/by-command" in command("deployment", "list").stdout
    assert command("deployment", "update", "by-command").returncode == 1
    deleted = command("deployment", "delete", "by-command")
    assert deleted.stdout == "Deleted by-command.\n", deleted.stderr
    assert (await api("GET", "/deployments/local/by-command"))[0] == 404
