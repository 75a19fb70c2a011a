"""A bare version id runs the model that it was made for, whoever has pushed the same files before.

`replicate` 1.0.7 sends the id alone of `owner/name:id`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PREDICT = """import os
import resource

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self) -> str:
        return f"{len(os.environ.get('WHO', ''))} {resource.getrlimit(resource.RLIMIT_DATA)[0]}"
"""
WHO = {"shell": "the-shell", "small": "the-small-one-of-the-two"}


@pytest.fixture(scope="module")
async def versions(stack, command, new_token, tmp_path_factory):
    """Ids by model: one directory, published by a stranger first, then two models of another account."""
    directory = tmp_path_factory.mktemp("identity")
    (directory / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    (directory / "predict.py").write_text(PREDICT)
    stack.tidemill("push", "--public", "stranger/first", str(directory), token=new_token("stranger"))
    stack.tidemill("push", "--public", "local/shell", str(directory), "--hardware", "cpu")
    stack.tidemill("push", "--public", "local/small", str(directory), "--hardware", "cpu-small")
    program = Path(sys.executable).with_name("tidemill")
    env = {**os.environ, **stack.env}
    for name, secret in WHO.items():
        words = [str(program), "secret", "set", f"local/{name}", "WHO"]
        subprocess.run(words, env=env, input=secret + "\n", text=True, check=True, capture_output=True)
    assert "up to date" in command("push", "--if-changed", "local/small", directory).stdout
    again = command("push", "local/small", directory).stdout
    made = {}
    async with stack.session() as session:
        for name in ("stranger/first", "local/shell", "local/small"):
            async with session.get(f"/v1/models/{name}") as response:
                made[name] = (await response.json())["latest_version"]
    assert f"Version local/small:{made['local/small']['id']}" in again
    return made


def test_models_with_the_same_files_have_versions_of_their_own(versions):
    assert len({version["id"] for version in versions.values()}) == 3
    assert len({version["digest"] for version in versions.values()}) == 1


async def test_each_bare_id_runs_its_own_model_with_its_secret_and_hardware(versions, python_1, new_token):
    limits = set()
    for who in (None, new_token("caller")):
        for name, secret in {"local/shell": WHO["shell"], "local/small": WHO["small"], "stranger/first": ""}.items():
            output = await python_1("text", token=who, model=f"{name}:{versions[name]['id']}", given={})
            length, limit = output.split()
            assert int(length) == len(secret), (name, output)
            limits.add((name, limit))
    of = dict(limits)
    assert len(limits) == 3
    assert int(of["local/small"]) < int(of["local/shell"]) == int(of["stranger/first"])


async def test_a_bare_id_that_the_caller_may_not_see_is_refused(stack, versions, new_token):
    token = new_token("caller")
    async with stack.session() as session:
        hidden = "/v1/models/local/shell"
        async with session.patch(hidden, json={"visibility": "private"}) as response:
            assert response.status == 200, await response.text()
        try:
            body = {"version": versions["local/shell"]["id"], "input": {}}
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post("/v1/predictions", json=body, headers=headers) as response:
                assert response.status == 422, await response.text()
                assert "does not exist" in (await response.json())["detail"]
        finally:
            async with session.patch(hidden, json={"visibility": "public"}) as response:
                assert response.status == 200
