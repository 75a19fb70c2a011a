"""Versions of models: list, get, delete, and the boots of their instances."""

import contextlib
import re
from typing import Final, Protocol

import msgspec
import nats
from aiohttp import web

from tidemill.contracts import subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.api.boots import Boot
from tidemill.contracts.api.models import Version
from tidemill.contracts.api.pages import Page
from tidemill.contracts.errors import conflict, not_found, unavailable
from tidemill.contracts.events import QueueRemoved
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.handlers.model_lookup import find_own_id, find_visible_here, model_path
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.predictions.versions import HasVersions
from tidemill.gateway.protocols import HasBus, HasDatabase, HasSigningKey
from tidemill.gateway.responses import model_serializer
from tidemill.gateway.responses.pages import page
from tidemill.runtime.clock import rfc3339, unix
from tidemill.runtime.db import Row

VERSIONS_PAGE_SIZE: Final = 25  # each carries its schema
VERSION_ID: Final = re.compile(r"[0-9a-f]{64}")
LOST_WITH_ITS_WORKER: Final = "The worker was lost while it booted."


class VersionParts(HasDatabase, HasBus, HasSigningKey, HasVersions, Protocol): ...


@operation("models.versions.list", Scope.MODELS_READ, query=queries.PageQuery, response=Page[Version])
async def list_(call: Call[VersionParts]) -> web.Response:
    """A model's versions, the newest first."""
    model = await find_visible_here(call)

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.versions.page(call.parts.database, model["model_id"], cursor, limit)

    path = f"/models/{model['owner']}/{model['name']}/versions"
    return json_response(await page(call, path, fetch, model_serializer.version, size=VERSIONS_PAGE_SIZE))


@operation("models.versions.get", Scope.MODELS_READ, response=Version)
async def get(call: Call[VersionParts]) -> web.Response:
    """One version with its schema."""
    model = await find_visible_here(call)
    return json_response(model_serializer.version(await _version(call, model["model_id"])))


@operation("models.versions.delete", Scope.MODELS_WRITE, status=202, errors=(409,))
async def delete(call: Call[VersionParts]) -> web.Response:
    """Delete a version of your own model, with your predictions of it and their files.

    It cannot be run or listed from now on; what belongs to it goes within minutes. Refused with 409 when somebody else
    has run it, when a deployment runs it, and while a training of it is under way.
    """
    parts = call.parts
    row = await _version(call, await find_own_id(call))
    try:
        if await stores.versions.is_run_by_others(parts.database, row["queue"]):
            raise conflict("Others have run this version.")
    except stores.versions.ScanTimeout:
        raise unavailable("It took too long to find out who has run this version; please retry later.", 60) from None
    refused = await stores.versions.delete(parts.database, row["queue"])
    if refused is not None:
        raise conflict(refused.reason)
    parts.versions.forget()
    # Only a hint: without it, instances of the deleted version stop after their idle timeout.
    with contextlib.suppress(nats.errors.Error):
        await parts.bus.send(subjects.QUEUE_REMOVED, QueueRemoved(queue=row["queue"]))
    owner, name = model_path(call)
    return web.Response(status=202, headers={"Location": f"{call.api_url}/models/{owner}/{name}/versions"})


@operation("models.versions.boots", Scope.MODELS_READ, response=list[Boot])
async def boots(call: Call[VersionParts]) -> web.Response:
    """How the last 20 instances of a version of your own model came up, the newest first.

    With how long each phase took, what its set-up printed, and why it failed or was ended where it was. One that goes
    on for more than a second is among them, with what its set-up has printed until a second ago.
    """
    version = await _version(call, await find_own_id(call))
    return json_response(
        [_boot(row) for row in await stores.boots.list_of_version(call.parts.database, version["queue"])]
    )


def _boot(row: Row) -> Boot:
    lost = row["ready_at"] is None and row["error"] is None and not row["goes_on"]
    return Boot(
        instance=row["instance"],
        status="ready" if row["ready_at"] is not None else "booting" if row["goes_on"] else "failed",
        began_at=rfc3339(unix(row["began_at"])),
        ready_at=None if row["ready_at"] is None else rfc3339(unix(row["ready_at"])),
        error=LOST_WITH_ITS_WORKER if lost else row["error"],
        phases=None if row["phases"] is None else msgspec.json.decode(row["phases"], type=dict[str, float]),
        logs=row["logs"],
    )


async def _version(call: Call[VersionParts], model_id: str) -> Row:
    version_id = call.path("id")
    found = VERSION_ID.fullmatch(version_id) is not None
    row = await stores.versions.find(call.parts.database, model_id, version_id) if found else None
    if row is None:
        raise not_found()
    return row
