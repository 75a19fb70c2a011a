"""API tokens: create, list, revoke. An extension: Replicate has no API for it.

A new token has no more scopes and expires no later than the token that creates it.
"""

from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from aiohttp import web

from tidemill.contracts import access
from tidemill.contracts.access import Role, Scope
from tidemill.contracts.api.pages import Page
from tidemill.contracts.api.tokens import CreateToken, NewToken, Token
from tidemill.contracts.errors import forbidden, invalid_member, not_found, unprocessable
from tidemill.contracts.ids import is_id
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasCallers, HasDatabase, HasSigningKey
from tidemill.gateway.responses.pages import page
from tidemill.runtime.accounts import tokens as token_writes
from tidemill.runtime.clock import at, now, rfc3339
from tidemill.runtime.db import Row
from tidemill.security import tokens

LIVE_TOKENS_LIMIT: Final = 1000  # per account; expired tokens do not count


class TokenParts(HasDatabase, HasCallers, HasSigningKey, Protocol): ...


@operation("tokens.list", Scope.ACCOUNT_READ, query=queries.TokensQuery, response=Page[Token])
async def list_(call: Call[TokenParts]) -> web.Response:
    """The tokens that you may see, newest first: your own, those you made for organizations, all of those you own.

    With a token of an organization: its tokens, all for its owners and one's own for others. Never a secret.
    """
    asked = call.parse_query(queries.TokensQuery)

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.tokens.page(call.parts.database, call.caller, asked.account, cursor, limit)

    return json_response(await page(call, "/tokens", fetch, lambda row: Token(**_fields(row))))


@operation("tokens.create", Scope.ACCOUNT_WRITE, body=CreateToken, response=NewToken, status=201)
async def create(call: Call[TokenParts]) -> web.Response:
    """Make a token; `token` is its secret, shown this once.

    It acts for your own account, or with `account` for an organization that you are in, there no further than your
    role. It can grant no more than the token it is made with: 403 for scopes beyond that. It expires when that one
    does, if not before.
    """
    body = await call.body(CreateToken)
    if names := access.unknown_scopes(body.scopes):
        raise invalid_member(
            "scopes", f"Unknown scopes: {', '.join(names)}. Valid ones: {access.WILDCARD}, {', '.join(access.Scope)}."
        )
    account_id, role = await _target_account(call, body.account)
    if names := access.excess_scopes(body.scopes, call.caller.given, role):
        raise forbidden(f"A token can grant no more than you have; this goes beyond it: {', '.join(names)}.")
    new = token_writes.NewToken(
        account_id=account_id,
        user_id=call.caller.user,
        name=body.name,
        scopes=sorted(set(body.scopes)),
        expires_at=_expiry(body, call.caller.expires_at, now()),
    )
    secret = tokens.new_token()
    token_id = await token_writes.create(call.parts.database, new, secret, LIVE_TOKENS_LIMIT)
    if token_id is None:
        raise unprocessable(f"An account may have at most {LIVE_TOKENS_LIMIT} tokens. Revoke some first.")
    row = await stores.tokens.find(call.parts.database, call.caller, token_id)
    if row is None:  # the membership has ended meanwhile, and the token with it
        raise not_found()
    headers = {"Cache-Control": "no-store", **call.location(f"/tokens/{row['id']}")}
    return json_response(NewToken(token=secret, **_fields(row)), 201, headers)


async def _target_account(call: Call[TokenParts], username: str | None) -> tuple[str, Role]:
    """Return the account id for the new token and the caller's role in that account. Raise the 422 problem."""
    if username is None or username == call.account.username:
        return call.account.id, call.caller.role
    found = None
    if call.account.type == "user":
        found = await stores.tokens.find_membership(call.parts.database, call.account.id, username)
    if found is None:
        raise invalid_member("account", f"You are in no organization named {username}")
    return found


def _expiry(body: CreateToken, latest: float | None, moment: float) -> datetime | None:
    """Return the expiry of the new token: as requested, but at most `latest`. Raise the 422 problem."""
    if body.expires_at is not None and body.expires_in_s is not None:
        raise unprocessable("Give expires_at or expires_in_s, not both.")
    end = body.expires_at
    if body.expires_in_s is not None:
        end = at(moment) + timedelta(seconds=body.expires_in_s)
    if end is not None and end <= at(moment):
        raise invalid_member("expires_at", "Must be in the future")
    if latest is None:
        return end
    return at(latest) if end is None else min(end, at(latest))


@operation("tokens.get", Scope.ACCOUNT_READ, response=Token)
async def get(call: Call[TokenParts]) -> web.Response:
    """A token that you may see, without its secret."""
    return json_response(Token(**_fields(await _find_visible(call))))


@operation("tokens.revoke", Scope.ACCOUNT_WRITE, status=204)
async def revoke(call: Call[TokenParts]) -> web.Response:
    """End a token, for good. Requests with it are refused from now on, on every gateway within a few seconds."""
    row = await _find_visible(call)
    await token_writes.revoke(call.parts.database, row["id"])
    call.parts.callers.invalidate(row["id"])
    return web.Response(status=204)


async def _find_visible(call: Call[TokenParts]) -> Row:
    token_id = call.path("id")
    row = await stores.tokens.find(call.parts.database, call.caller, token_id) if is_id(token_id) else None
    if row is None:
        raise not_found()
    return row


def _fields(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "last4": row["last4"],
        "scopes": row["scopes"],
        "account": row["account"],
        "created_by": row["created_by"],
        "created_at": rfc3339(row["created_at"].timestamp()),
        "expires_at": None if row["expires_at"] is None else rfc3339(row["expires_at"].timestamp()),
        "last_used_at": None if row["last_used_at"] is None else rfc3339(row["last_used_at"].timestamp()),
    }
