"""The account that the token acts for, with its settings."""

from typing import Any, Protocol

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from tidemill.contracts import subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.api.accounts import RETENTION_MINIMUM_S, OwnAccount, UpdateAccount
from tidemill.contracts.api.event_consumers import EventsAccess
from tidemill.contracts.errors import invalid_member
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.events.external_subscribers import ExternalSubscribers
from tidemill.gateway.events.permissions import event_subjects, readable_kinds
from tidemill.gateway.protocols import HasCallers, HasConfig, HasDatabase
from tidemill.runtime.accounts import life
from tidemill.runtime.clock import rfc3339


class AccountParts(HasDatabase, HasConfig, HasCallers, Protocol):
    @property
    def external_subscribers(self) -> ExternalSubscribers: ...


@operation("account.get", Scope.ACCOUNT_READ, response=OwnAccount)
async def get(call: Call[AccountParts]) -> web.Response:
    """The account that the token acts for.

    Beyond Replicate's keys: `id`, `created_at`, `retention_s`, what the token may do (`role` and `scopes`), and how it
    hears events on NATS (`events`).
    """
    return json_response(await _find_own(call))


@operation("account.update", Scope.ACCOUNT_WRITE, body=UpdateAccount, response=OwnAccount)
async def update(call: Call[AccountParts]) -> web.Response:
    """Change the name, the links or the retention of the account that the token acts for.

    `retention_s` is how long inputs, outputs and logs of predictions are kept after they end.
    """
    changes = changes_of(await call.body(UpdateAccount), call.parts.config.retention_s)
    await life.update(call.parts.database, call.account.id, changes)
    call.parts.callers.invalidate(call.account.id)
    return json_response(await _find_own(call))


def changes_of(body: UpdateAccount, retention_limit_s: int) -> dict[str, Any]:
    """Return the settings in the body by column. Raise the 422 problem for a retention out of bounds."""
    changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    retention_s = changes.get("retention_s")
    if retention_s is not None and not RETENTION_MINIMUM_S <= retention_s <= retention_limit_s:
        raise invalid_member("retention_s", f"Must be from {RETENTION_MINIMUM_S} to {retention_limit_s}, or null")
    return changes


def _events(call: Call[AccountParts]) -> EventsAccess | UnsetType:
    url, kinds = call.parts.config.nats_public_url, readable_kinds(call.caller.scopes)
    if not url or not kinds:
        return UNSET
    return EventsAccess(
        url=url,
        subjects=list(event_subjects(call.account.id, kinds)),
        inbox_prefix=subjects.inbox(call.caller.token_id),
        connections_limit=call.parts.external_subscribers.counts.limit,
        connections=call.parts.external_subscribers.counts.of(call.account.id),
        jetstream_domain=subjects.EXTERNAL_DOMAIN,
    )


async def _find_own(call: Call[AccountParts]) -> OwnAccount:
    row = await stores.organizations.find_account(call.parts.database, call.account.id)
    return OwnAccount(
        id=call.account.id,
        type=row["type"],
        username=row["username"],
        name=row["name"],
        github_url=row["github_url"] or UNSET,
        avatar_url=row["avatar_url"] or UNSET,
        created_at=rfc3339(row["created_at"].timestamp()),
        retention_s=row["retention_s"],
        role=call.caller.role,
        scopes=sorted(call.caller.scopes),
        events=_events(call),
    )
