"""The one way a prediction ends: a fenced UPDATE that also creates the delivery of its last webhook.

Worker, gateway (cancel) and scheduler (worker lost, deadline passed) all end predictions here, so exactly one terminal
state is ever stored, whoever comes first.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from tidemill.contracts import subjects
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import SQL_ENDS
from tidemill.runtime.db import DedicatedConnection
from tidemill.runtime.deliveries.creation import CREATE_FOR_ENDED
from tidemill.runtime.parameters import Unnest
from tidemill.runtime.predictions.fences import current_attempt
from tidemill.runtime.predictions.outcome import Outcome

OUTCOMES: Final = Unnest(Outcome, "o", delivery="text")
# Output and logs stay as they are if the outcome brings none: a canceled prediction keeps what it has produced.
END: Final = f"""
WITH outcome AS (
    SELECT * FROM {OUTCOMES.rows}
), ended AS (
    UPDATE prediction p SET
        status = o.status,
        output = COALESCE(o.output::json, p.output),
        logs = COALESCE(o.logs, p.logs, ''),
        error = o.error,
        error_code = o.error_code,
        metrics = COALESCE(o.metrics::json, p.metrics),
        boot = COALESCE(o.boot::json, p.boot),
        worker = COALESCE(o.worker, p.worker),
        started_at = COALESCE(p.started_at, o.started_at),
        completed_at = o.completed_at
    FROM outcome o
    WHERE {current_attempt(OUTCOMES)} AND (p.status, o.status) IN {SQL_ENDS}
        AND (o.worker IS NULL OR p.worker IS NULL OR p.worker = o.worker)
    RETURNING p.id, p.account_id, p.gateway, p.kind, p.model, p.version, p.webhook, p.webhook_events,
        p.created_at, o.delivery
), delivery AS (
{CREATE_FOR_ENDED}
)
SELECT id, account_id, gateway, kind, model, version, webhook IS NOT NULL AS webhook, created_at,
    (SELECT a.retention_s FROM account a WHERE a.id = ended.account_id) AS retention_s
FROM ended"""


class Ended(msgspec.Struct, kw_only=True, frozen=True):
    """A prediction that this call has ended."""

    id: str
    account: str
    gateway: str
    kind: subjects.Kind
    model: str
    version: str
    webhook: bool
    created_at: float
    retention_s: int | None  # of the account, if it is shorter than the service's


async def end(connection: DedicatedConnection, outcomes: Sequence[Outcome]) -> dict[str, Ended]:
    """End predictions in one statement and one commit. Return those that this call has ended, by id.

    Callers: workers (runs that ended), the gateway (cancel), the scheduler (worker lost too often, deadline passed).
    Fence: the attempt; the move, by the table of transitions; the worker, if both the outcome and the row name one.
    Cost: one probe of the primary key per outcome, hash-joined with the arrays; one of `account` per end.
    """
    deliveries = [f"msg_{new_id()}" for _ in outcomes]
    ended = await connection.fetch(END, *OUTCOMES.arrays(outcomes, deliveries))
    return {
        row["id"]: Ended(
            id=row["id"],
            account=row["account_id"],
            gateway=row["gateway"],
            kind=row["kind"],
            model=row["model"],
            version=row["version"],
            webhook=row["webhook"],
            created_at=row["created_at"].timestamp(),
            retention_s=row["retention_s"],
        )
        for row in ended
    }
