"""When tokens were last used: collected in memory, written once a minute, never within a request."""

import asyncio
from typing import Final

from tidemill.runtime.accounts.tokens import record_uses
from tidemill.runtime.clock import now
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log

FLUSH_EVERY_S: Final = 60.0  # people read it to find tokens that nobody needs: a minute is exact enough


class TokenUses:
    """Token ids with the moment of their last look-up. Only valid tokens are held, so made-up ones cost no memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, float] = {}

    def record(self, token_id: str) -> None:
        self._seen[token_id] = now()

    async def flush(self) -> None:
        """Write what was recorded. When the database cannot be reached, the next flush writes it."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            await record_uses(self._database, seen)
        except TRANSIENT_ERRORS as error:
            self._seen = {**seen, **self._seen}
            log().warning("token uses not written", action="retry", tokens=len(seen), error=str(error))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()
