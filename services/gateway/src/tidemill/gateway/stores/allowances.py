"""The SQL of table `allowance`: what all gateways together have admitted of each account's rates."""

from collections.abc import Sequence
from typing import Final

from tidemill.gateway.limits.ledger import Debt, RateKey
from tidemill.runtime.db import DedicatedConnection, columns

# Only the database's clock counts: gateways get the time left until a moment, never the moment itself.
_SETTLE: Final = """
INSERT INTO allowance AS a (account_id, kind, full_at)
SELECT account_id, kind, now() + make_interval(secs => seconds)
FROM unnest($1::text[], $2::text[], $3::float8[]) AS owed (account_id, kind, seconds)
ON CONFLICT (account_id, kind) DO UPDATE SET full_at = GREATEST(a.full_at, now()) + (excluded.full_at - now())
RETURNING account_id, kind, extract(epoch FROM full_at - now())::float8 AS full_in_s"""


async def settle(connection: DedicatedConnection, debts: Sequence[Debt]) -> dict[RateKey, float]:
    """Add the debts. Return in how many seconds each burst is whole again, counting all gateways.

    When the answer of a statement is lost, the debts are sent again and counted twice: the account is then admitted too
    little, never too much.
    """
    rows = [(debt.key.account, debt.key.kind, debt.seconds) for debt in debts]
    return {
        RateKey(row["account_id"], row["kind"]): row["full_in_s"]
        for row in await connection.fetch(_SETTLE, *columns(rows, 3))
    }
