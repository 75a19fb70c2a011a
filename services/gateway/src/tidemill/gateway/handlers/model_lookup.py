"""Looks up the model in a request's path. Raises the 404 problem if the caller may not see or does not own it."""

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


def model_path(call: Call[HasDatabase]) -> tuple[str, str]:
    """Return owner and name. Raise the 404 problem for text that is no valid name."""
    owner, name = call.path("owner"), call.path("name")
    if not all(len(each) <= NAME_LIMIT_CHARS and _NAME.fullmatch(each) for each in (owner, name)):
        raise not_found()
    return owner, name


async def find_visible(call: Call[HasDatabase], owner: str, name: str) -> Row:
    row = await stores.models.find(call.parts.database, call.account.id, owner, name)
    if row is None:
        raise not_found()
    return row


async def find_visible_here(call: Call[HasDatabase]) -> Row:
    return await find_visible(call, *model_path(call))


async def find_own_id(call: Call[HasDatabase]) -> str:
    model_id = await stores.models.find_own_id(call.parts.database, call.account.id, *model_path(call))
    if model_id is None:
        raise not_found()
    return model_id
