import asyncio
import json

import pytest

from tidemill.contracts.access import ALL_SCOPES, ROLE_SCOPES
from tidemill.contracts.ids import new_id
from tidemill.gateway.access.callers import CallerCache
from tidemill.gateway.access.token_uses import TokenUses
from tidemill.runtime.accounts.tokens import revoke
from tidemill.runtime.db import TRANSIENT_ERRORS

MISSING = {"detail": "The requested resource could not be found.", "status": 404}


async def make(gateway, who, **body):
    status, made = await gateway.ask("POST", "/tokens", who, json={"name": "t", **body})
    assert status == 201, made
    return made


async def make_organization(gateway, who):
    name = f"org-{new_id()}"
    status, made = await gateway.ask("POST", "/organizations", who, json={"username": name})
    assert status == 201, made
    return name


async def join(gateway, who, organization, account, role):
    path = f"/organizations/{organization}/members/{account.username}"
    status, member = await gateway.ask("PUT", path, who, json={"role": role})
    assert status == 200, member


async def listed(gateway, who, query=""):
    status, page = await gateway.ask("GET", f"/tokens{query}", who)
    assert status == 200, page
    return {token["id"]: token for token in page["results"]}


async def test_a_token_is_made_shown_once_used_and_revoked(gateway, alice):
    made = await make(gateway, alice, name="ci", scopes=["predictions:write", "predictions:read", "account:read"])
    secret = made.pop("token")
    assert (made["name"], made["last4"], made["account"]) == ("ci", secret[-4:], alice.username)
    assert made["scopes"] == ["account:read", "predictions:read", "predictions:write"]
    assert (made["created_by"], made["expires_at"], made["last_used_at"]) == (alice.username, None, None)
    status, account = await gateway.ask("GET", "/account", secret)
    assert (status, account["username"], account["scopes"]) == (200, alice.username, made["scopes"])
    assert await gateway.ask("GET", f"/tokens/{made['id']}", alice) == (200, made)
    assert (await listed(gateway, alice))[made["id"]] == made
    assert secret not in json.dumps(await listed(gateway, alice))
    assert await gateway.ask("DELETE", f"/tokens/{made['id']}", alice) == (204, None)
    assert (await gateway.ask("GET", "/account", secret))[0] == 401, "at once, though it was cached"
    for method in ("GET", "DELETE"):
        assert await gateway.ask(method, f"/tokens/{made['id']}", alice) == (404, MISSING)
    assert made["id"] not in await listed(gateway, alice)


async def test_another_gateway_forgets_a_revoked_token_when_its_cache_does(gateway, alice):
    made = await make(gateway, alice)
    other = CallerCache(gateway.parts.database, 0.0)
    assert (await other.get(f"Bearer {made['token']}")).account.id == alice.id
    await gateway.ask("DELETE", f"/tokens/{made['id']}", alice)
    with pytest.raises(Exception, match="valid authentication token"):
        await other.get(f"Bearer {made['token']}")


async def test_a_look_up_under_way_while_a_token_is_revoked_is_not_remembered(gateway, alice, monkeypatch):
    made = await make(gateway, alice)
    callers = CallerCache(gateway.parts.database, 60)
    look_up = callers._callers._look_up

    async def slow(authorization):
        found = await look_up(authorization)
        await revoke(gateway.parts.database, made["id"])
        callers.invalidate(made["id"])
        return found

    monkeypatch.setattr(callers._callers, "_look_up", slow)
    await callers.get(f"Bearer {made['token']}")
    monkeypatch.undo()
    with pytest.raises(Exception, match="valid authentication token"):
        await callers.get(f"Bearer {made['token']}")


async def test_a_token_ends_when_it_expires_and_stays_listed(gateway, alice, connection):
    made = await make(gateway, alice, expires_in_s=3600)
    assert made["expires_at"] is not None
    await connection.execute("UPDATE token SET expires_at = now() WHERE id = $1", made["id"])
    assert (await gateway.ask("GET", "/account", made["token"]))[0] == 401
    assert made["id"] in await listed(gateway, alice)


async def test_the_cache_does_not_outlive_the_token(gateway, alice):
    made = await make(gateway, alice, expires_in_s=60)
    callers = CallerCache(gateway.parts.database, 3600)
    caller, holds_s = await callers._look_up(f"Bearer {made['token']}")
    assert caller is not None
    assert 0 < holds_s <= 60


async def test_expires_at_as_a_moment(gateway, alice):
    made = await make(gateway, alice, expires_at="2999-01-01T00:00:00+01:00")
    assert made["expires_at"] == "2998-12-31T23:00:00.000Z"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 129},
        {"name": "a\nb"},
        {"name": "a\u0000b"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["*"] * 65},
        {"name": "x", "scopes": "*"},
        {"name": "x", "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "x", "expires_at": "2999-01-01T00:00:00"},
        {"name": "x", "expires_in_s": 0},
        {"name": "x", "expires_in_s": 60, "expires_at": "2999-01-01T00:00:00Z"},
        {"name": "x", "account": "nobody-of-this-name"},
        {"name": "x", "account": "Bad Name"},
    ],
)
async def test_what_makes_no_token(gateway, alice, body):
    assert (await gateway.ask("POST", "/tokens", alice, json=body))[0] == 422


async def test_unknown_scopes_are_answered_with_the_valid_ones(gateway, alice):
    body = {"name": "x", "scopes": ["models:read", "models:fly"]}
    status, problem = await gateway.ask("POST", "/tokens", alice, json=body)
    assert status == 422
    assert "models:fly" in problem["detail"]
    assert all(scope in problem["detail"] for scope in ALL_SCOPES)


async def test_a_token_grants_no_more_than_its_maker(gateway, alice):
    limited = await make(gateway, alice, scopes=["account:write", "account:read", "models:read"], expires_in_s=600)
    for scopes in (None, ["*"], ["models:write"], ["models:read", "files:read"]):
        body = {"name": "x", **({} if scopes is None else {"scopes": scopes})}
        status, problem = await gateway.ask("POST", "/tokens", limited["token"], json=body)
        assert (status, problem["title"]) == (403, "Permission denied")
    child = await make(gateway, limited["token"], scopes=["models:read"])
    assert child["expires_at"] == limited["expires_at"]
    later = await make(gateway, limited["token"], scopes=["models:read"], expires_in_s=6000)
    assert later["expires_at"] == limited["expires_at"]
    sooner = await make(gateway, limited["token"], scopes=["models:read"], expires_in_s=60)
    assert sooner["expires_at"] < limited["expires_at"]


async def test_others_see_nothing_of_a_token(gateway, alice, mallory):
    made = await make(gateway, alice)
    for method in ("GET", "DELETE"):
        assert await gateway.ask(method, f"/tokens/{made['id']}", mallory) == (404, MISSING)
        assert await gateway.ask(method, "/tokens/nonsense", mallory) == (404, MISSING)
    assert made["id"] not in await listed(gateway, mallory)
    assert (await gateway.ask("GET", "/account", made["token"]))[0] == 200


async def test_tokens_of_an_organization(gateway, alice, new_account):
    viewer, member = await new_account(), await new_account()
    org = await make_organization(gateway, alice)
    await join(gateway, alice, org, viewer, "viewer")
    await join(gateway, alice, org, member, "member")
    made = {
        who: await make(gateway, account, account=org)
        for who, account in (("owner", alice), ("member", member), ("viewer", viewer))
    }
    for role, token in made.items():
        status, account = await gateway.ask("GET", "/account", token["token"])
        assert (status, account["type"], account["username"], account["role"]) == (200, "organization", org, role)
        assert account["scopes"] == sorted(ROLE_SCOPES[role])
    ids = {role: token["id"] for role, token in made.items()}
    assert set(ids.values()) <= set(await listed(gateway, alice)), "an owner sees all of them"
    assert set(await listed(gateway, alice, f"?account={org}")) == set(ids.values())
    assert set(await listed(gateway, member, f"?account={org}")) == {ids["member"]}
    assert set(await listed(gateway, made["owner"]["token"])) == set(ids.values())
    assert set(await listed(gateway, made["viewer"]["token"])) == {ids["viewer"]}
    assert (await gateway.ask("DELETE", f"/tokens/{ids['owner']}", member))[0] == 404
    assert (await gateway.ask("POST", "/tokens", made["member"]["token"], json={"name": "x"}))[0] == 403
    body = {"name": "x", "account": org, "scopes": ["account:write"]}
    assert (await gateway.ask("POST", "/tokens", member, json=body))[0] == 403
    body = {"name": "x", "account": alice.username}
    assert (await gateway.ask("POST", "/tokens", made["owner"]["token"], json=body))[0] == 422
    assert (await gateway.ask("DELETE", f"/tokens/{ids['member']}", alice))[0] == 204
    assert (await gateway.ask("GET", "/account", made["member"]["token"]))[0] == 401


async def test_a_role_that_changes_changes_the_tokens(gateway, alice, new_account):
    member, org = await new_account(), await make_organization(gateway, alice)
    await join(gateway, alice, org, member, "member")
    token = (await make(gateway, member, account=org))["token"]
    assert (await gateway.ask("GET", "/account", token))[1]["role"] == "member"
    await join(gateway, alice, org, member, "viewer")
    assert (await gateway.ask("GET", "/account", token))[1]["role"] == "viewer"
    assert (await gateway.ask("POST", "/models", token, json={}))[0] == 403


async def test_whoever_leaves_loses_his_tokens_for_good(gateway, alice, new_account):
    member, org = await new_account(), await make_organization(gateway, alice)
    await join(gateway, alice, org, member, "member")
    token = (await make(gateway, member, account=org))["token"]
    assert (await gateway.ask("GET", "/account", token))[0] == 200
    assert (await gateway.ask("DELETE", f"/organizations/{org}/members/{member.username}", member))[0] == 204
    assert (await gateway.ask("GET", "/account", token))[0] == 401
    await join(gateway, alice, org, member, "member")
    # Under the other scheme, which the gateway remembers apart: the refusal from before the membership tells nothing.
    other_scheme = {"Authorization": f"Token {token}"}
    async with gateway.http.get(f"{gateway.url}/v1/account", headers=other_scheme) as response:
        assert response.status == 401


async def test_a_token_made_while_its_maker_leaves_is_good_for_nothing(gateway, alice, new_account):
    member, org = await new_account(), await make_organization(gateway, alice)
    await join(gateway, alice, org, member, "member")
    made = await make(gateway, member, account=org)
    assert (await gateway.ask("DELETE", f"/organizations/{org}/members/{member.username}", member))[0] == 204
    await gateway.parts.database.execute("UPDATE token SET revoked_at = NULL WHERE id = $1", made["id"])
    assert (await gateway.ask("GET", "/account", made["token"]))[0] == 401


async def test_an_account_has_room_for_so_many_tokens(gateway, new_account, monkeypatch):
    account = await new_account()
    monkeypatch.setattr("tidemill.gateway.handlers.tokens.LIVE_TOKENS_LIMIT", 3)
    made = [await make(gateway, account, expires_in_s=60) for _ in range(2)]
    assert (await gateway.ask("POST", "/tokens", account, json={"name": "x"}))[0] == 422
    await gateway.ask("DELETE", f"/tokens/{made[0]['id']}", account)
    await make(gateway, account)


async def test_many_tokens_come_in_pages(gateway, new_account, connection):
    account = await new_account()
    await connection.executemany(
        "INSERT INTO token (id, account_id, name, digest, last4) VALUES ($1, $2, 'x', $3, 'xxxx')",
        [(new_id(), account.id, new_id().encode()) for _ in range(150)],
    )
    names, path = [], "/tokens"
    while path:
        status, page = await gateway.ask("GET", path, account)
        assert status == 200
        names += [token["id"] for token in page["results"]]
        path = page["next"] and page["next"].partition("/v1")[2]
    assert len(names) == 151
    assert names == sorted(names, reverse=True)


async def test_the_last_use_is_written_by_the_flush(gateway, alice):
    made = await make(gateway, alice)
    await gateway.ask("GET", "/account", made["token"])
    path = f"/tokens/{made['id']}"
    assert (await gateway.ask("GET", path, alice))[1]["last_used_at"] is None
    await gateway.parts.callers.uses.flush()
    used = (await gateway.ask("GET", path, alice))[1]["last_used_at"]
    assert used is not None
    await gateway.parts.callers.uses.flush()
    assert (await gateway.ask("GET", path, alice))[1]["last_used_at"] == used


async def test_gateways_that_write_the_same_uses_do_not_hold_each_other_up(gateway, alice):
    ids = [(await make(gateway, alice))["id"] for _ in range(20)]
    gateways = [TokenUses(gateway.parts.database) for _ in range(6)]
    for number, uses in enumerate(gateways):
        for token_id in ids[:: 1 if number % 2 else -1]:
            uses.record(token_id)
    await asyncio.gather(*(uses.flush() for uses in gateways))
    tokens = await listed(gateway, alice)
    assert all(tokens[token_id]["last_used_at"] for token_id in ids)


async def test_a_flush_without_a_database_loses_nothing(gateway, alice, monkeypatch):
    made = await make(gateway, alice)
    uses = gateway.parts.callers.uses
    uses.record(made["id"])

    async def away(*_):
        raise TRANSIENT_ERRORS[0]

    with monkeypatch.context() as patched:
        patched.setattr(uses._database, "execute", away)
        await uses.flush()
    await uses.flush()
    assert (await gateway.ask("GET", f"/tokens/{made['id']}", alice))[1]["last_used_at"] is not None


async def test_account_settings(gateway, alice):
    changes = {"name": "Alice A.", "github_url": "https://github.com/alice", "avatar_url": None, "retention_s": 600}
    status, account = await gateway.ask("PATCH", "/account", alice, json=changes)
    assert status == 200
    assert {name: account.get(name) for name in changes} == changes
    assert await gateway.ask("GET", "/account", alice) == (200, account)
    status, account = await gateway.ask("PATCH", "/account", alice, json={"retention_s": None})
    assert (status, account["retention_s"], account["name"]) == (200, None, "Alice A.")
    assert (await gateway.ask("PATCH", "/account", alice, json={}))[1] == account


async def test_links_of_an_account_that_are_not_set_are_left_out_as_replicate_does(gateway, alice):
    links = {"github_url", "avatar_url"}
    status, account = await gateway.ask("GET", "/account", alice)
    assert (status, links & set(account)) == (200, set())
    given = {"github_url": "https://github.com/alice", "avatar_url": "https://example.com/alice.png"}
    account = (await gateway.ask("PATCH", "/account", alice, json=given))[1]
    assert {name: account[name] for name in links} == given
    account = (await gateway.ask("PATCH", "/account", alice, json=dict.fromkeys(links)))[1]
    assert not links & set(account)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": None},
        {"name": "x" * 129},
        {"name": "a\u0000"},
        {"github_url": "javascript:alert(1)"},
        {"avatar_url": "https://example.com/a b"},
        {"avatar_url": "https://example.com/\n"},
        {"avatar_url": "https://example.com/" + "a" * 3000},
        {"retention_s": 59},
        {"retention_s": 3601},
        {"retention_s": "600"},
        {"retention_s": 10**30},
    ],
)
async def test_settings_that_cannot_be(gateway, alice, changes):
    before = await gateway.ask("GET", "/account", alice)
    assert (await gateway.ask("PATCH", "/account", alice, json={"name": "New", **changes}))[0] in {400, 422}
    assert await gateway.ask("GET", "/account", alice) == before
