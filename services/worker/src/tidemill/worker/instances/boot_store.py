"""The SQL of table `boot`. `boot_records` runs it."""

from typing import Final

KEPT: Final = 20  # of one version; people look at the last ones
WRITE: Final = f"""
WITH written AS (
    INSERT INTO boot (instance, version_queue, queue, worker, began_at, ready_at, error, phases, logs)
    SELECT $1, q.version_queue, $2, $3, $4, $5, $6, $7::text::json, $8 FROM queue_version q WHERE q.queue = $2
    ON CONFLICT (instance) DO UPDATE
        SET ready_at = excluded.ready_at, error = excluded.error, phases = excluded.phases, logs = excluded.logs
        WHERE boot.ready_at IS NULL
    RETURNING version_queue)
DELETE FROM boot b USING written w WHERE b.version_queue = w.version_queue AND b.instance <> ALL (ARRAY(
    SELECT k.instance FROM boot k WHERE k.version_queue = w.version_queue AND k.instance <> $1
    ORDER BY k.began_at DESC LIMIT {KEPT - 1})) AND b.instance <> $1"""
UNDER_WAY: Final = """
INSERT INTO boot (instance, version_queue, queue, worker, began_at, logs)
SELECT $1, q.version_queue, $2, $3, $4, $5 FROM queue_version q WHERE q.queue = $2
ON CONFLICT (instance) DO UPDATE SET logs = excluded.logs WHERE boot.ready_at IS NULL AND boot.error IS NULL"""
GIVEN_UP: Final = "UPDATE boot SET error = $2 WHERE instance = $1 AND ready_at IS NULL AND error IS NULL"
ENDED: Final = "UPDATE boot SET error = $2 WHERE instance = $1"
