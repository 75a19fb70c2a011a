"""The order in which waiting pushes are built. The worker that builds and the gateway that shows the place use it.

It is fair across accounts: those with the fewest builds under way come first, and among equals the one whose last build
began longest ago. So a long list of one account does not delay the only push of another.
"""

from typing import Final

from tidemill.contracts.lease import SQL_LOST

_BUILDER_LIVES: Final = "EXISTS (SELECT FROM worker w WHERE w.id = {push}.worker AND w.lease_until > " + SQL_LOST + ")"
# Condition on `push p`: a worker can take it. A push whose worker is lost waits again.
SQL_WAITS: Final = f"(p.status = 'queued' OR (p.status = 'building' AND NOT {_BUILDER_LIVES.format(push='p')}))"
# The common table expression `waiting_push`: (id, place), 1 for the next. Rows are few: each account has a limit.
SQL_WAITING: Final = f"""
queued_push AS (
    SELECT p.id, p.account_id, p.created_at,
        row_number() OVER (PARTITION BY p.account_id ORDER BY p.created_at, p.id)
            + (SELECT count(*) FROM push b
               WHERE b.account_id = p.account_id AND b.status = 'building' AND {_BUILDER_LIVES.format(push="b")}) AS nth
    FROM push p WHERE p.status IN ('queued', 'building') AND {SQL_WAITS}),
waiting_push AS (
    SELECT q.id, row_number() OVER (
        ORDER BY q.nth, (SELECT max(c.claimed_at) FROM push c WHERE c.account_id = q.account_id) NULLS FIRST,
            q.created_at, q.id) AS place
    FROM queued_push q)"""
