"""Tries: a delivery is leased while it is tried, so that a dispatcher that dies loses none.

What a try ends with is fenced by the number of tries: a dispatcher whose lease has run out changes nothing.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from tidemill.runtime.db import Database, Row

# Endpoints and accounts that have all their places taken are left out, and the others alternate: so neither a receiver
# that hangs nor an account with many deliveries delays another account's first try. Where the breaker is half open,
# one delivery at a time is `probing`; a redelivery that its owner asked for does not wait for a breaker.
LEASE: Final = """
WITH due AS (
    SELECT d.id, d.account_id, d.host, d.next_attempt_at, e.open_until IS NOT NULL AND NOT d.redelivery AS probing,
        COALESCE(e.failures, 0) = 0 AND e.succeeded_at > now() - make_interval(secs => $6) AS recently_healthy
    FROM webhook_delivery d LEFT JOIN webhook_endpoint e
        ON e.account_id = d.account_id AND e.host = d.host AND e.path = ''
    WHERE d.status = 'pending' AND d.next_attempt_at <= now() AND (d.leased_until IS NULL OR d.leased_until < now())
        AND d.account_id <> ALL ($2) AND d.account_id || ' ' || d.host <> ALL ($3)
        AND e.disabled_at IS NULL AND (e.open_until IS NULL OR e.open_until <= now() OR d.redelivery)
        AND NOT EXISTS (
            SELECT FROM webhook_endpoint gone WHERE gone.account_id = d.account_id AND gone.host = d.host
                AND gone.path = d.path AND gone.disabled_at IS NOT NULL)
), in_line AS (
    SELECT id, next_attempt_at, probing, recently_healthy,
        row_number() OVER (PARTITION BY account_id, host ORDER BY next_attempt_at, id) AS at_endpoint,
        row_number() OVER (PARTITION BY account_id ORDER BY next_attempt_at, id) AS of_account
    FROM due
), chosen AS (
    SELECT id, probing, recently_healthy FROM in_line WHERE at_endpoint <= CASE WHEN probing THEN 1 ELSE $4 END
    ORDER BY of_account, next_attempt_at, id LIMIT $1
), free AS (
    SELECT id FROM webhook_delivery
    WHERE id IN (SELECT id FROM chosen) AND status = 'pending' AND (leased_until IS NULL OR leased_until < now())
    FOR UPDATE SKIP LOCKED)
UPDATE webhook_delivery d SET leased_until = now() + make_interval(secs => $5)
FROM chosen WHERE d.id = chosen.id AND d.id IN (SELECT id FROM free)
RETURNING d.id, d.prediction_id, d.account_id, d.url, d.host, d.path, d.event, d.tries, d.body, d.redelivery,
    chosen.probing, COALESCE(chosen.recently_healthy, false) AS recently_healthy"""
# The body stays for its owner to look at until the prediction's data goes; what the receiver answered may quote it.
FINISH: Final = """
UPDATE webhook_delivery d SET status = $2, tries = $3, leased_until = NULL, last_status = $4, last_error = $5,
    completed_at = now(), redelivery = false, body = CASE WHEN kept.yes THEN COALESCE(d.body, $6) END,
    log = d.log || CASE WHEN kept.yes THEN $7::jsonb ELSE $7::jsonb - 'response' END
FROM (SELECT EXISTS (
    SELECT FROM webhook_delivery JOIN prediction p ON p.id = prediction_id
    WHERE webhook_delivery.id = $1 AND NOT p.data_removed) AS yes) kept
WHERE d.id = $1 AND d.status = 'pending' AND d.tries = $3 - 1"""
# From the first failure on the body is fixed: a retry sends the same bytes, also after the janitor removed the data.
RETRY: Final = """
UPDATE webhook_delivery SET tries = $2, leased_until = NULL, last_status = $3, last_error = $4,
    next_attempt_at = now() + make_interval(secs => $5), body = COALESCE(body, $6), log = log || $7::jsonb
WHERE id = $1 AND status = 'pending' AND tries = $2 - 1"""
RELEASE: Final = "UPDATE webhook_delivery SET leased_until = NULL WHERE id = ANY ($1)"
LOG_PROGRESS: Final = """
INSERT INTO webhook_delivery (id, prediction_id, account_id, url, event, status, tries, last_status, last_error, log,
    completed_at)
SELECT $1, $2, $3, $4, $5, $6, 1, $7, $8, jsonb_build_array($9::jsonb), now()
WHERE NOT EXISTS (
    SELECT FROM webhook_delivery WHERE prediction_id = $2 AND event = $5 AND status = $6
        AND last_status IS NOT DISTINCT FROM $7 AND created_at > now() - make_interval(secs => $10))"""


class Capacity(msgspec.Struct, frozen=True):
    """What a dispatcher has room for. `full_endpoints` are an account and a host, joined by a blank."""

    deliveries: int
    full_accounts: Sequence[str]
    full_endpoints: Sequence[str]
    tries_per_endpoint: int


class Try(NamedTuple):
    """The result of a try; `entry` is what the log says of it, as JSON text."""

    delivery: str
    number: int  # from 1
    http_status: int | None
    error: str | None
    entry: str


class ProgressWebhook(NamedTuple):
    """A webhook of a prediction's progress, which is sent once and not retried."""

    id: str
    prediction: str
    account: str
    url: str
    event: str


async def lease(database: Database, capacity: Capacity, lease_s: float, seen_every_s: float) -> list[Row]:
    """Lease due deliveries for `lease_s` seconds. A few may be too many for their endpoint: release these.

    `recently_healthy` of a row: its endpoint has not failed, and a success was noted within `seen_every_s`.

    Callers: dispatchers.
    Fence: the status pending; no lease of another dispatcher; the endpoint's breaker.
    Cost: all that is due, by the index on next_attempt_at of pending deliveries; one probe of `webhook_endpoint` each.
    """
    full = capacity.full_accounts, capacity.full_endpoints
    return await database.fetch(LEASE, capacity.deliveries, *full, capacity.tries_per_endpoint, lease_s, seen_every_s)


async def finish(database: Database, done: Try, status: str, body: str | None) -> None:
    """Write the last try, which ends the delivery as delivered or failed.

    Callers: dispatchers. Fence: the status pending; the number of tries. Cost: two probes of primary keys.
    """
    await database.execute(FINISH, done.delivery, status, done.number, done.http_status, done.error, body, done.entry)


async def retry(database: Database, done: Try, body: str, wait_s: float) -> None:
    """Write a try that failed; the next is due in `wait_s` seconds.

    Callers: dispatchers. Fence: the status pending; the number of tries. Cost: one probe of the primary key.
    """
    await database.execute(RETRY, done.delivery, done.number, done.http_status, done.error, wait_s, body, done.entry)


async def release(database: Database, deliveries: list[str]) -> None:
    """Give back leases of deliveries that were not tried.

    Callers: dispatchers. Fence: none; only the holder of the leases calls it. Cost: one probe of the primary key each.
    """
    await database.execute(RELEASE, deliveries)


async def log_progress(database: Database, webhook: ProgressWebhook, done: Try, status: str, every_s: float) -> None:
    """Log a webhook of progress, unless one with the same result was logged within `every_s` seconds.

    Callers: dispatchers. Fence: none. Cost: the prediction's deliveries, by the index on prediction_id; one row.
    """
    await database.execute(LOG_PROGRESS, *webhook, status, done.http_status, done.error, done.entry, every_s)
