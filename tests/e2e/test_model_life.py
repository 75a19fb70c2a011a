"""A model from its push, with what is said of it and an example, to the deletion of all that was made of it."""

import asyncio
import json
import time

PREDICT = """from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        return text
"""
README = "# echo\n\nSays it again.\n\n## Licence\n\n[MIT](https://example.com/mit)\n"
WITHIN_S = 300


async def ask(stack, method, path, **kwargs):
    async with stack.session() as session, session.request(method, f"/v1/models/local/{path}", **kwargs) as response:
        text = await response.text()
        return response.status, json.loads(text) if "json" in response.content_type else text


async def until(check):
    deadline = time.monotonic() + WITHIN_S
    while not await check():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def test_a_model_from_push_to_deletion(stack, command, tmp_path):
    for name, content in {
        "cog.yaml": 'predict: "predict.py:Predictor"\n',
        "predict.py": PREDICT,
        "README.md": README,
        "example.json": '{"input": {"text": "hello"}}',
    }.items():
        (tmp_path / name).write_text(content)
    pushed = command("push", "local/e2e-life", tmp_path, "--public", "--github-url", "https://example.com/source")
    assert pushed.returncode == 0, pushed.stderr
    model = (await ask(stack, "GET", "e2e-life"))[1]
    assert (model["description"], model["license_url"]) == ("Says it again.", "https://example.com/mit")
    assert (model["github_url"], model["visibility"]) == ("https://example.com/source", "public")
    assert (model["default_example"]["input"], model["default_example"]["output"]) == ({"text": "hello"}, "hello")
    assert await ask(stack, "GET", "e2e-life/readme") == (200, README)

    again = command("push", "local/e2e-life", tmp_path, "--if-changed", "--description", "Echoes.")
    assert again.stdout == "local/e2e-life is up to date.\nSet description.\n"
    assert len(command("example", "list", "local/e2e-life").stdout.splitlines()) == 1
    added = command("example", "add", "local/e2e-life", tmp_path / "example.json")
    assert added.returncode == 0, added.stderr
    assert len((await ask(stack, "GET", "e2e-life/examples"))[1]["results"]) == 2

    assert command("collection", "set", "e2e", "local/e2e-life", "--name", "Tested").returncode == 0
    assert command("collection", "set", "e2e", "local/no-such-model").returncode == 1
    # Columns are as wide as what other tests' collections need.
    rows = [line.split() for line in command("collection", "list").stdout.splitlines()]
    assert ["e2e", "Tested", "(1", "models)"] in rows
    assert command("collection", "delete", "e2e").returncode == 0
    assert command("account", "official", "nobody-here").returncode == 1

    version = model["latest_version"]["id"]
    assert (await ask(stack, "DELETE", f"e2e-life/versions/{version}"))[0] == 202
    assert (await ask(stack, "POST", "e2e-life/predictions", json={"input": {"text": "x"}}))[0] == 404

    async def cannot_be_found():
        async with stack.session() as session:
            url = f"/v1/predictions/{model['default_example']['id']}"
            async with session.get(url) as response:
                return response.status == 404

    await until(cannot_be_found)
    assert (await ask(stack, "DELETE", "e2e-life"))[0] == 409
    await ask(stack, "PATCH", "e2e-life", json={"visibility": "private"})
    assert (await ask(stack, "DELETE", "e2e-life"))[0] == 204
