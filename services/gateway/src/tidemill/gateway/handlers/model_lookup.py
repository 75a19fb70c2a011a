"""The model that a path names: as far as the caller may see it, or only if it is the caller's own. Else the 404."""

import re
from typing import Final

from tidemill.contracts import patterns
from tidemill.contracts.errors import not_found
from tidemill.contracts.limits import NAME_LIMIT_CHARS
from tidemill.gateway import stores
from tidemill.gateway.call import Call
from tidemill.gateway.protocols import HasDatabase
from tidemill.runtime.db import Row

_NAME: Final = re.compile(patterns.NAME)


def named(call: Call[HasDatabase]) -> tuple[str, str]:
    """Owner and name. What cannot be one names nothing."""
    owner, name = call.path("owner"), call.path("name")
    if not all(len(each) <= NAME_LIMIT_CHARS and _NAME.fullmatch(each) for each in (owner, name)):
        raise not_found()
    return owner, name


async def visible(call: Call[HasDatabase], owner: str, name: str) -> Row:
    row = await stores.models.find(call.parts.database, call.account.id, owner, name)
    if row is None:
        raise not_found()
    return row


async def visible_here(call: Call[HasDatabase]) -> Row:
    return await visible(call, *named(call))


async def own_id(call: Call[HasDatabase]) -> str:
    model_id = await stores.models.find_own_id(call.parts.database, call.account.id, *named(call))
    if model_id is None:
        raise not_found()
    return model_id
