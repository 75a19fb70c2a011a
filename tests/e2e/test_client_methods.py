"""Every public method of the three official clients is called against the whole system.

The lists come from the clients themselves: a method that no script calls fails the test.
"""

import secrets

import pytest

from tidemill.testing.running import RunningStack

OWNER = "shopper"
SPARES = 4


@pytest.fixture(scope="session")
async def shop(stack: RunningStack, new_token):
    """An account with models of its own: some to run, one to train, and some to lose their versions."""
    token = new_token(OWNER)
    models = {"text": "e2e_text", "tokens": "e2e_tokens", "file": "e2e_file", "train": "contract_train"}
    spares = {f"spare-{number}": "e2e_sleep" for number in range(SPARES)}
    for name, directory in {**models, **spares}.items():
        stack.tidemill("push", "--no-example", f"{OWNER}/{name}", f"tests/models/{directory}", token=token)
    stack.tidemill("collection", "set", "shop", "--name", "Shop", "--description", "One", "local/e2e_text")
    versions = {}
    async with stack.session() as http:
        body = {"owner": OWNER, "name": "trained", "visibility": "private", "hardware": "cpu"}
        async with http.post("/v1/models", json=body, headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 201, await response.text()
        for name in ("text", "train"):
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"/v1/models/{OWNER}/{name}", headers=headers) as response:
                versions[f"{name}_version"] = (await response.json())["latest_version"]["id"]
    named = {name: f"{OWNER}/{name}" for name in models}
    return {"token": token, "owner": OWNER, "collection": "shop", "trained": f"{OWNER}/trained", **named, **versions}


@pytest.mark.parametrize(
    ("client", "script", "spares"),
    [
        ("python_1", "python_1_methods.py", (0, 1)),
        ("python_2", "python_2_methods.py", (2, 3)),
        ("javascript", "javascript_methods.mjs", ()),
    ],
)
async def test_every_method_of_the_client_works(request, shop, client, script, spares):
    program = request.getfixturevalue(client).with_script(script)
    mark = f"{client.replace('_', '-')}-{secrets.token_hex(3)}"
    own = {"mark": mark, "spares": [f"{OWNER}/spare-{number}" for number in spares]}
    result = await program("every", **shop, **own)
    assert len(result["methods"]) > 20
    assert not set(result["methods"]) - set(result["called"]), "call it in the script, with what it should do"
