"""In which order pushes that wait are built: the one place that says it, for those who build and for those who ask.

Fair over accounts: an account's next push waits behind the first of every account that builds less; among equals the
account goes first that was served longest ago, so that a long list of one does not hold another's only push.
"""

from typing import Final

from tidemill.contracts.lease import SQL_LOST

_LIVES: Final = "EXISTS (SELECT FROM worker w WHERE w.id = {push}.worker AND w.lease_until > " + SQL_LOST + ")"
# Of `push p`: it can be taken. One whose builder is lost waits again.
SQL_WAITS: Final = f"(p.status = 'queued' OR (p.status = 'building' AND NOT {_LIVES.format(push='p')}))"
# The common table expression `waiting_push`: (id, place), 1 for the next. There are few: each account may have so many.
SQL_WAITING: Final = f"""
queued_push AS (
    SELECT p.id, p.account_id, p.created_at,
        row_number() OVER (PARTITION BY p.account_id ORDER BY p.created_at, p.id)
            + (SELECT count(*) FROM push b
               WHERE b.account_id = p.account_id AND b.status = 'building' AND {_LIVES.format(push="b")}) AS nth
    FROM push p WHERE p.status IN ('queued', 'building') AND {SQL_WAITS}),
waiting_push AS (
    SELECT q.id, row_number() OVER (
        ORDER BY q.nth, (SELECT max(c.claimed_at) FROM push c WHERE c.account_id = q.account_id) NULLS FIRST,
            q.created_at, q.id) AS place
    FROM queued_push q)"""  # noqa: S608 - our own constants
