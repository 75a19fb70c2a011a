"""When tokens were last used: collected in memory, written once a minute, never by a request itself."""

import asyncio
from typing import Final

from tidemill.runtime.clock import at, now
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log

FLUSH_EVERY_S: Final = 60.0  # people look at it to find tokens that nobody needs; a minute is exact enough
# Gateways write the same tokens at the same moment: locked in one order, or they would wait for each other for ever.
WRITE: Final = """
WITH used AS (SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS u (id, moment)),
    locked AS (SELECT t.id FROM token t WHERE t.id = ANY ($1) ORDER BY t.id FOR UPDATE)
UPDATE token t SET last_used_at = greatest(t.last_used_at, u.moment)
FROM used u JOIN locked l USING (id) WHERE t.id = u.id"""


class Uses:
    """Token ids with the moment of their last look-up. Holds valid tokens only, so made-up ones cost no memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, float] = {}

    def saw(self, token_id: str) -> None:
        self._seen[token_id] = now()

    async def flush(self) -> None:
        """Writes what was seen. A database that is away loses nothing: the next flush writes it."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            await self._database.execute(WRITE, list(seen), [at(moment) for moment in seen.values()])
        except TRANSIENT_ERRORS as error:
            self._seen = {**seen, **self._seen}
            log().warning("token uses not written", action="retry", tokens=len(seen), error=str(error))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()
