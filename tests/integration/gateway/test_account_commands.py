import re

from tidemill.contracts.ids import new_id


async def test_tokens_are_made_listed_and_revoked(tidemill, alice):
    made = await tidemill(alice, "token", "create", "--name", "ci", "--scope", "account:read", "--print")
    listed = await tidemill(made.strip(), "token", "list")
    line = next(line for line in listed.splitlines() if "  ci  " in line)
    assert "[account:read]" in line
    assert f"…{made.strip()[-4:]}" in line
    assert "lacks the scope account:write" in await tidemill(made.strip(), "token", "create", status=1)
    await tidemill(alice, "token", "revoke", line.split()[0])
    assert "401" in await tidemill(made.strip(), "token", "list", status=1)


async def test_scopes_that_are_none_are_answered_with_those_that_are(tidemill, alice):
    assert "predictions:write" in await tidemill(alice, "token", "create", "--scope", "fly", status=1)


async def test_an_organization_from_the_first_member_to_the_last(tidemill, alice, mallory):
    name = f"org-{new_id()}"
    assert await tidemill(alice, "org", "create", name, "--name", "Org") == f"{name}\n"
    assert f"{name}  Org  owner" in await tidemill(alice, "org", "list")
    await tidemill(alice, "org", "members", "add", name, mallory.username, "--role", "viewer")
    assert f"{mallory.username}  {mallory.username}  viewer" in await tidemill(mallory, "org", "members", "list", name)
    made = await tidemill(mallory, "token", "create", "--account", name, "--expires-in-days", "7")
    secret = re.search(rf"Token for {name}, shown this once: (r8_\w+)", made)[1]
    assert f"{name}  default" in await tidemill(secret, "token", "list")
    await tidemill(alice, "org", "members", "remove", name, mallory.username)
    assert "401" in await tidemill(secret, "token", "list", status=1)
    await tidemill(alice, "org", "delete", name)
    assert name not in await tidemill(alice, "org", "list")


async def test_the_operator_makes_the_first_account_and_token(tidemill):
    name = f"user-{new_id()}"
    assert await tidemill(None, "account", "create", name) == f"{name}\n"
    secret = (await tidemill(None, "token", "create", name, "--print")).strip()
    assert name in await tidemill(secret, "token", "list")
    assert "over the API" in await tidemill(None, "token", "create", name, "--scope", "files:read", status=1)
    assert "there is no account" in await tidemill(None, "token", "create", f"user-{new_id()}", status=1)
