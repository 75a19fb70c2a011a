"""The SQL of deliveries. A row is leased while it is tried, so that a dispatcher that dies loses none."""

from typing import Final

from tidemill.runtime.db import Database, Row
from tidemill.runtime.streams.urls import JOINS, STREAMS
from tidemill.webhook_dispatcher.breaker import SEEN_EVERY_S
from tidemill.webhook_dispatcher.lanes import Lanes
from tidemill.webhook_dispatcher.sending import Answer

PROGRESS_LOG_EVERY_S: Final = 10.0  # progress with the same result is logged no more often: it comes twice a second
PURGE_BATCH: Final = 1000  # rows of one deletion, so that none takes long

# Endpoints and accounts that have all their places taken are left out, the others take turns: so neither a receiver
# that hangs nor an account with a long line of deliveries delays another account's first try. Where the breaker is
# half open one delivery at a time is `probing`; what its owner asked for again does not wait for a breaker.
LEASE: Final = f"""
WITH due AS (
    SELECT d.id, d.account_id, d.host, d.next_attempt_at, e.open_until IS NOT NULL AND NOT d.redelivery AS probing,
        COALESCE(e.failures, 0) = 0 AND e.succeeded_at > now() - make_interval(secs => {SEEN_EVERY_S}) AS seen_well
    FROM webhook_delivery d LEFT JOIN webhook_endpoint e
        ON e.account_id = d.account_id AND e.host = d.host AND e.path = ''
    WHERE d.status = 'pending' AND d.next_attempt_at <= now() AND (d.leased_until IS NULL OR d.leased_until < now())
        AND d.account_id <> ALL ($2) AND d.account_id || ' ' || d.host <> ALL ($3)
        AND e.disabled_at IS NULL AND (e.open_until IS NULL OR e.open_until <= now() OR d.redelivery)
        AND NOT EXISTS (
            SELECT FROM webhook_endpoint gone WHERE gone.account_id = d.account_id AND gone.host = d.host
                AND gone.path = d.path AND gone.disabled_at IS NOT NULL)
), in_line AS (
    SELECT id, next_attempt_at, probing, seen_well,
        row_number() OVER (PARTITION BY account_id, host ORDER BY next_attempt_at, id) AS at_endpoint,
        row_number() OVER (PARTITION BY account_id ORDER BY next_attempt_at, id) AS of_account
    FROM due
), turn AS (
    SELECT id, probing, seen_well FROM in_line WHERE at_endpoint <= CASE WHEN probing THEN 1 ELSE $4 END
    ORDER BY of_account, next_attempt_at, id LIMIT $1
), free AS (
    SELECT id FROM webhook_delivery
    WHERE id IN (SELECT id FROM turn) AND status = 'pending' AND (leased_until IS NULL OR leased_until < now())
    FOR UPDATE SKIP LOCKED)
UPDATE webhook_delivery d SET leased_until = now() + make_interval(secs => $5)
FROM turn WHERE d.id = turn.id AND d.id IN (SELECT id FROM free)
RETURNING d.id, d.prediction_id, d.account_id, d.url, d.host, d.path, d.event, d.tries, d.body, d.redelivery,
    turn.probing, COALESCE(turn.seen_well, false) AS seen_well"""  # noqa: S608 - our own constants
# As good as nothing where nothing is due, unlike the statements before and after.
ANY_DUE: Final = "SELECT EXISTS (SELECT FROM webhook_delivery WHERE status = 'pending' AND next_attempt_at <= now())"
# What follows is fenced by the number of tries: whoever comes after the lease has run out changes nothing. The body
# stays for its owner to look at until the prediction's data goes; what the receiver answered may quote it.
FINISH: Final = """
UPDATE webhook_delivery d SET status = $2, tries = $3, leased_until = NULL, last_status = $4, last_error = $5,
    completed_at = now(), redelivery = false, body = CASE WHEN kept.yes THEN COALESCE(d.body, $6) END,
    log = d.log || CASE WHEN kept.yes THEN $7::jsonb ELSE $7::jsonb - 'response' END
FROM (SELECT EXISTS (
    SELECT FROM webhook_delivery JOIN prediction p ON p.id = prediction_id
    WHERE webhook_delivery.id = $1 AND NOT p.data_removed) AS yes) kept
WHERE d.id = $1 AND d.status = 'pending' AND d.tries = $3 - 1"""
# From the first failure on the body is fixed: a retry sends the same bytes, also when the janitor has been.
RETRY: Final = """
UPDATE webhook_delivery SET tries = $2, leased_until = NULL, last_status = $3, last_error = $4,
    next_attempt_at = now() + make_interval(secs => $5), body = COALESCE(body, $6), log = log || $7::jsonb
WHERE id = $1 AND status = 'pending' AND tries = $2 - 1"""
RELEASE: Final = "UPDATE webhook_delivery SET leased_until = NULL WHERE id = ANY ($1)"
PREDICTION: Final = f"""
SELECT p.*, a.webhook_secret, {STREAMS}, webhook_host(p.webhook) AS webhook_host,
    ARRAY(SELECT b.secret FROM webhook_secret_before b WHERE b.account_id = a.id AND b.signs_until > now()
        ORDER BY b.signs_until DESC) AS secrets_before,
    a.retention_s, EXISTS (SELECT FROM example x WHERE x.prediction_id = p.id) AS is_example,
    EXISTS (SELECT FROM webhook_delivery d WHERE d.prediction_id = p.id AND d.event = 'start') AS start_told,
    EXISTS (SELECT FROM webhook_endpoint e WHERE e.account_id = p.account_id AND e.host = webhook_host(p.webhook)
        AND e.path IN ('', webhook_path(p.webhook)) AND (e.disabled_at IS NOT NULL OR e.open_until > now())) AS shut
FROM prediction p JOIN account a ON a.id = p.account_id {JOINS}
WHERE p.id = $1 AND p.deleted_at IS NULL"""  # noqa: S608 - our own constants
LOG_PROGRESS: Final = """
INSERT INTO webhook_delivery (id, prediction_id, account_id, url, event, status, tries, last_status, last_error, log,
    completed_at)
SELECT $1, $2, $3, $4, $5, $6, 1, $7, $8, jsonb_build_array($9::jsonb), now()
WHERE NOT EXISTS (
    SELECT FROM webhook_delivery WHERE prediction_id = $2 AND event = $5 AND status = $6
        AND last_status IS NOT DISTINCT FROM $7 AND created_at > now() - make_interval(secs => $10))"""
PURGE: Final = """
DELETE FROM webhook_delivery WHERE id IN (
    SELECT id FROM webhook_delivery WHERE id < $1 AND status <> 'pending' ORDER BY id LIMIT $2) RETURNING id"""


async def any_due(database: Database) -> bool:
    return bool(await database.value(ANY_DUE))


async def lease(database: Database, lanes: Lanes, limit: int, lease_s: float) -> list[Row]:
    """Due deliveries that there is room for, at most `limit`; a few may be too many for their endpoint."""
    full = lanes.full_accounts(), lanes.full_endpoints()
    return await database.fetch(LEASE, min(limit, lanes.room), *full, lanes.endpoint_tries, lease_s)


async def prediction(database: Database, prediction_id: str) -> Row | None:
    """With its account's secrets, and whether its endpoint is `shut`. None when it was deleted."""
    return await database.row(PREDICTION, prediction_id)


async def finish(database: Database, row: Row, status: str, answer: Answer, body: str | None) -> None:
    tries = row["tries"] + 1
    await database.execute(FINISH, row["id"], status, tries, answer.status, answer.error, body, answer.entry())


async def retry(database: Database, row: Row, answer: Answer, body: str, wait_s: float) -> None:
    tries = row["tries"] + 1
    await database.execute(RETRY, row["id"], tries, answer.status, answer.error, wait_s, body, answer.entry())


async def release(database: Database, delivery_ids: list[str]) -> None:
    await database.execute(RELEASE, delivery_ids)


async def log_progress(database: Database, row: Row, delivery_id: str, event: str, answer: Answer) -> None:
    """`row` is the prediction's. A first one always, then samples."""
    status = "failed" if answer.error else "delivered"
    await database.execute(
        LOG_PROGRESS,
        delivery_id,
        row["id"],
        row["account_id"],
        row["webhook"],
        event,
        status,
        answer.status,
        answer.error,
        answer.entry(),
        PROGRESS_LOG_EVERY_S,
    )


async def purge(database: Database, before_id: str) -> int:
    """Deletes finished deliveries with ids below; how many, at most PURGE_BATCH."""
    return len(await database.fetch(PURGE, before_id, PURGE_BATCH))
