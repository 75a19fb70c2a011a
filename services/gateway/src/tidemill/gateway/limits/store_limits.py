"""The shared record of what accounts have taken, by one statement for all accounts that a gateway owes something."""

from collections.abc import Sequence
from typing import Final

from tidemill.gateway.limits.ledger import Debt, Key
from tidemill.runtime.db import DedicatedConnection, columns

# One clock, the database's; gateways hear how far off a moment is, and never what it is.
SETTLE: Final = """
INSERT INTO allowance AS a (account_id, kind, full_at)
SELECT account_id, kind, now() + make_interval(secs => seconds)
FROM unnest($1::text[], $2::text[], $3::float8[]) AS owed (account_id, kind, seconds)
ON CONFLICT (account_id, kind) DO UPDATE SET full_at = GREATEST(a.full_at, now()) + (excluded.full_at - now())
RETURNING account_id, kind, extract(epoch FROM full_at - now())::float8 AS full_in_s"""


async def settle(connection: DedicatedConnection, debts: Sequence[Debt]) -> dict[Key, float]:
    """Adds what is owed; answers in how many seconds each burst is whole, counting all gateways.

    A statement whose answer is lost is repeated and so counted twice: too little is admitted then, and never too much.
    """
    rows = [(debt.key.account, debt.key.kind, debt.seconds) for debt in debts]
    return {
        Key(row["account_id"], row["kind"]): row["full_in_s"]
        for row in await connection.fetch(SETTLE, *columns(rows, 3))
    }
