"""Pages of a list ordered by id, newest first, with absolute links that keep the request's filters."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from tidemill.contracts.api.pages import Page
from tidemill.contracts.limits import PAGE_SIZE
from tidemill.gateway.call import Call
from tidemill.gateway.listing import cursors
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasSigningKey
from tidemill.runtime.db import Row

# Returns at most `limit` rows after the cursor, in its direction, nearest first; without a cursor from the newest.
Fetch = Callable[[Cursor | None, int], Awaitable[Sequence[Row]]]


async def page(
    call: Call[HasSigningKey],
    path: str,
    fetch: Fetch,
    serialize: Callable[[Row], Any],
    *,
    size: int = PAGE_SIZE,
    filters: Mapping[str, str] | None = None,
    stopped_at: Callable[[], str | None] = lambda: None,
) -> Page[Any]:
    """Return one page. Fetch one row more than a page, to know whether there is another page.

    `path` is relative to the API's base. Links keep `filters`, or the request's query parameters. `stopped_at` is
    called after the fetch: it returns the id at which a bounded search gave up, or None. The page is then shorter,
    perhaps empty, and the next one continues from there.
    """
    scope = f"{path}|{call.account.id}"
    key = call.parts.signing_key
    text = call.query.get("cursor")
    cursor = cursors.unseal(key, scope, text) if text else None
    rows = list(await fetch(cursor, size + 1))
    more, rows = len(rows) > size, rows[:size]
    stopped = None if more else stopped_at()
    backwards = cursor is not None and cursor.direction == "previous"
    if backwards:
        rows.reverse()
    newest, oldest = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    if backwards:
        following, before = oldest, newest if more else stopped
    else:
        following, before = oldest if more else stopped, None if cursor is None else newest

    def link(direction: Any, position: str) -> str:
        asked = call.query if filters is None else filters
        kept = {name: value for name, value in asked.items() if name != "cursor"}
        query = urlencode({**kept, "cursor": cursors.seal(key, scope, Cursor(direction, position))})
        return f"{call.api_url}{path}?{query}"

    return Page(
        next=None if following is None else link("next", following),
        previous=None if before is None else link("previous", before),
        results=[serialize(row) for row in rows],
    )
