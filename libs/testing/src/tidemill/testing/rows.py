"""Rows as the services would have written them: a test says what it is about, the other columns are filled in."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidemill.contracts.ids import new_id
from tidemill.runtime.db import Database
from tidemill.security import tokens

SECRET: Final = "whsec_dGVzdA=="  # noqa: S105 - of receivers that tests make up
# The tables that no other refers to, from which all go; a database that has just been migrated is as empty. Listeners
# of services that are gone go too: the ports are free again, and a receiver on one of them would be refused.
CLEAR: Final = (
    "TRUNCATE account, collection, idempotency, listener, prediction, removal_due_later, walk, "
    "webhook_delivery, webhook_endpoint, worker CASCADE"
)
# A prediction that waits, as the services' statements read it.
WAITING: Final = {
    "id": "p",
    "model": "a/m",
    "version": "v",
    "input": '{"n": 1}',
    "output": None,
    "logs": None,
    "error": None,
    "error_code": None,
    "status": "starting",
    "source": "api",
    "created_at": datetime(2026, 11, 23, 9, 0, 0, 250_000, tzinfo=UTC),
    "started_at": None,
    "completed_at": None,
    "deadline": None,
    "metrics": None,
    "webhook": None,
    "webhook_events": None,
    "data_removed": False,
    "kind": "prediction",
    "deployment": None,
    "destination": None,
    "shared_at": None,
    "boot": None,
    "priority": 0,
    "public_url": None,
}


async def clear(database: Database) -> None:
    await database.execute(CLEAR)


async def insert(database: Database, table: str, *, unless_there: bool = False, **columns: Any) -> None:
    names, places = ", ".join(columns), ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    statement = f"INSERT INTO {table} ({names}) VALUES ({places})"
    await database.execute(f"{statement} ON CONFLICT DO NOTHING" if unless_there else statement, *columns.values())


async def account(database: Database, identifier: str, **changes: Any) -> str:
    """One that is there already stays as it is."""
    columns = {"id": identifier, "username": identifier, "name": identifier, "webhook_secret": SECRET, **changes}
    await insert(database, "account", unless_there=True, **columns)
    return identifier


async def token(database: Database, account_id: str) -> dict[str, str]:
    """The headers of whoever holds it."""
    made = tokens.new_token()
    digest = tokens.digest(made)
    await insert(database, "token", id=new_id(), account_id=account_id, name="test", digest=digest, last4="test")
    return {"Authorization": f"Bearer {made}"}


async def model(database: Database, account_id: str, **changes: Any) -> str:
    """Its id, which is its name too unless that is among the changes; its owner is called as the account's id."""
    identifier = changes.get("id", new_id())
    columns = {
        "id": identifier,
        "account_id": account_id,
        "owner": account_id,
        "name": identifier,
        "visibility": "public",
        "hardware": "cpu",
        **changes,
    }
    await insert(database, "model", **columns)
    return str(identifier)


async def version(database: Database, model_id: str, **changes: Any) -> str:
    """Its queue; its id is `version_id` of that."""
    queue = changes.get("queue", new_id())
    columns = {
        "queue": queue,
        "id": version_id(queue),
        "model_id": model_id,
        "cog_version": "0.16",
        "openapi_schema": "{}",
        "files": "[]",
        "config": "{}",
        "streams": False,
        **changes,
    }
    await insert(database, "version", **columns)
    return str(queue)


def version_id(queue: str) -> str:
    return hashlib.sha256(queue.encode()).hexdigest()


async def release(database: Database, account_id: str, version_queue: str, **changes: Any) -> str:
    """Its queue, which is the id and the name of its deployment too, of which it is the first."""
    queue = new_id()
    await insert(database, "deployment", id=queue, account_id=account_id, owner=account_id, name=queue)
    columns = {
        "queue": queue,
        "deployment_id": queue,
        "number": 1,
        "version_queue": version_queue,
        "streams": False,
        "hardware": "cpu",
        "min_instances": 0,
        "max_instances": 1,
        **changes,
    }
    await insert(database, "release", **columns)
    return queue


async def push(database: Database, account_id: str, model_id: str, **changes: Any) -> str:
    columns = {
        "id": new_id(),
        "account_id": account_id,
        "model_id": model_id,
        "status": "uploading",
        "files": "[]",
        **changes,
    }
    await insert(database, "push", **columns)
    return str(columns["id"])


async def worker(database: Database, *, lease_s: float = 3600.0, **changes: Any) -> str:
    """One that may go unheard for that long."""
    lease_until = datetime.now(UTC) + timedelta(seconds=lease_s)
    columns = {"id": new_id(), "host": "test", "lease_until": lease_until, **changes}
    await insert(database, "worker", **columns)
    return str(columns["id"])


def schema(**schemas: Any) -> str:
    """An OpenAPI document of these."""
    return json.dumps({"components": {"schemas": schemas}})


async def prediction(database: Database, **changes: Any) -> str:
    """Accepted just now; its account is `a`, which must be there, its version need not be."""
    columns = {
        "id": new_id(),
        "account_id": "a",
        "model": "a/m",
        "version": "v",
        "queue": "q",
        "gateway": "g",
        "input": '{"n": 1}',
        "created_at": datetime.now(UTC),
        **changes,
    }
    await insert(database, "prediction", **columns)
    return str(columns["id"])


async def delivery(database: Database, account_id: str, prediction_id: str, **changes: Any) -> str:
    """Of the webhook of a prediction that has ended; nobody has tried it yet."""
    columns = {
        "id": f"msg_{new_id()}",
        "account_id": account_id,
        "prediction_id": prediction_id,
        "url": "https://hook.example/",
        **changes,
    }
    await insert(database, "webhook_delivery", **columns)
    return str(columns["id"])


async def endpoint(database: Database, account_id: str, **changes: Any) -> str:
    """Of webhooks; its host is called as its id."""
    identifier = str(changes.get("id", new_id()))
    columns = {"id": identifier, "account_id": account_id, "host": f"{identifier}.example", **changes}
    await insert(database, "webhook_endpoint", **columns)
    return identifier
