"""Organizations and their members. An extension: Replicate has no API for it.

The token may be of the user's own account or of the organization.
"""

from typing import Protocol

from aiohttp import web
from msgspec import UNSET

from tidemill.contracts.access import Scope
from tidemill.contracts.api.accounts import (
    RESERVED_USERNAMES,
    CreateOrganization,
    Member,
    Organization,
    SetMember,
    UpdateAccount,
)
from tidemill.contracts.api.pages import Page
from tidemill.contracts.errors import conflict, forbidden, invalid_member, not_found, unprocessable
from tidemill.gateway import membership_rules, stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.handlers.account import changes_of
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasCallers, HasConfig, HasDatabase, HasSigningKey
from tidemill.gateway.responses.pages import page
from tidemill.runtime.accounts import life
from tidemill.runtime.clock import rfc3339
from tidemill.runtime.db import Row


class OrganizationParts(HasDatabase, HasConfig, HasCallers, HasSigningKey, Protocol): ...


@operation("organizations.list", Scope.ACCOUNT_READ, query=queries.PageQuery, response=Page[Organization])
async def list_(call: Call[OrganizationParts]) -> web.Response:
    """The organizations that the user is in, newest first, with the role.

    With a token of an organization: that one alone.
    """

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.organizations.page(call.parts.database, call.caller, cursor, limit)

    return json_response(await page(call, "/organizations", fetch, _organization))


@operation(
    "organizations.create",
    Scope.ACCOUNT_WRITE,
    body=CreateOrganization,
    response=Organization,
    status=201,
    errors=(409,),
)
async def create(call: Call[OrganizationParts]) -> web.Response:
    """Make an organization; the user becomes its owner.

    Needs a token of the user's own account. Usernames are shared with users; 409 when it is taken.
    """
    body = await call.body(CreateOrganization)
    if call.account.type != "user":
        raise forbidden("Organizations are made with a token of a user's own account.")
    if body.username in RESERVED_USERNAMES:
        raise invalid_member("username", f"The username {body.username} is reserved")
    try:
        made = await stores.organizations.create(call.parts.database, call.account.id, body)
    except stores.organizations.UsernameTaken:
        raise conflict(f"The username {body.username} is taken.") from None
    if not made:
        limit = stores.organizations.OWNED_ORGANIZATIONS_LIMIT
        raise unprocessable(f"A user may own at most {limit} organizations.")
    organization = _organization(await _find(call, body.username))
    return json_response(organization, 201, call.location(f"/organizations/{body.username}"))


@operation("organizations.get", Scope.ACCOUNT_READ, response=Organization)
async def get(call: Call[OrganizationParts]) -> web.Response:
    """An organization that the user is in."""
    return json_response(_organization(await _find(call, call.path("name"))))


@operation("organizations.update", Scope.ACCOUNT_WRITE, body=UpdateAccount, response=Organization)
async def update(call: Call[OrganizationParts]) -> web.Response:
    """Change an organization's name, links or retention. For its owners."""
    row = await _find(call, call.path("name"))
    if row["role"] != "owner":
        raise membership_rules.owners_only()
    changes = changes_of(await call.body(UpdateAccount), call.parts.config.retention_s)
    await life.update(call.parts.database, row["id"], changes)
    call.parts.callers.invalidate(row["id"])
    return json_response(_organization(await _find(call, row["username"])))


@operation("organizations.delete", Scope.ACCOUNT_WRITE, status=204, errors=(409,))
async def delete(call: Call[OrganizationParts]) -> web.Response:
    """Delete an organization that owns nothing any more, with its tokens. For its owners.

    409 says what it still has: models, deployments, event consumers, files, or predictions whose data is still kept.
    Its username stays taken.
    """
    organization_id = await stores.organizations.delete(call.parts.database, call.caller, call.path("name"))
    call.parts.callers.invalidate(organization_id)
    return web.Response(status=204)


@operation("organizations.members.list", Scope.ACCOUNT_READ, query=queries.PageQuery, response=Page[Member])
async def members(call: Call[OrganizationParts]) -> web.Response:
    """Who is in an organization, with the roles. For all who are in it."""
    row = await _find(call, call.path("name"))

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.organizations.members_page(call.parts.database, row["id"], cursor, limit)

    return json_response(await page(call, f"/organizations/{row['username']}/members", fetch, _member))


@operation("organizations.members.set", Scope.ACCOUNT_WRITE, body=SetMember, response=Member, errors=(409,))
async def set_member(call: Call[OrganizationParts]) -> web.Response:
    """Add a user to an organization, or change a member's role. For its owners.

    `owner` may do everything, `member` everything but administer the account, `viewer` may look at everything but
    webhooks: their secret, deliveries and endpoints. The last owner cannot take another role (409).
    """
    body = await call.body(SetMember)
    changed = await stores.organizations.set_member(
        call.parts.database, call.caller, call.path("name"), call.path("username"), body.role
    )
    call.parts.callers.invalidate(changed.organization_id)
    return json_response(_member(changed.member))


@operation("organizations.members.remove", Scope.ACCOUNT_WRITE, status=204, errors=(409,))
async def remove_member(call: Call[OrganizationParts]) -> web.Response:
    """Take a user out of an organization; the tokens that he made for it end. For its owners, and to leave oneself.

    The last owner cannot leave (409).
    """
    changed = await stores.organizations.set_member(
        call.parts.database, call.caller, call.path("name"), call.path("username"), None
    )
    call.parts.callers.invalidate(changed.organization_id)
    return web.Response(status=204)


async def _find(call: Call[OrganizationParts], username: str) -> Row:
    row = await stores.organizations.find(call.parts.database, call.caller, username)
    if row is None:
        raise not_found()
    return row


def _organization(row: Row) -> Organization:
    return Organization(
        id=row["id"],
        username=row["username"],
        name=row["name"],
        github_url=row["github_url"] or UNSET,
        avatar_url=row["avatar_url"] or UNSET,
        retention_s=row["retention_s"],
        created_at=rfc3339(row["created_at"].timestamp()),
        role=row["role"],
    )


def _member(row: Row) -> Member:
    return Member(
        username=row["username"],
        name=row["name"],
        avatar_url=row["avatar_url"] or UNSET,
        role=row["role"],
        created_at=rfc3339(row["created_at"].timestamp()),
    )
