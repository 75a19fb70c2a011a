"""Trainings: create, list, get, cancel. They run as predictions do; success creates a version of the destination."""

from typing import Final, Protocol

import msgspec
from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.pages import Page
from tidemill.contracts.api.predictions import CreatePrediction
from tidemill.contracts.api.trainings import CreateTraining, Training
from tidemill.contracts.errors import Problem, not_found, unprocessable
from tidemill.contracts.ids import is_id
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.handlers.predictions import NO_STORE, RUNNING, STATUS
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.predictions.canceling import CancelParts
from tidemill.gateway.predictions.canceling import cancel as cancel_open
from tidemill.gateway.predictions.creation import CreationParts
from tidemill.gateway.predictions.creation import create as create_one
from tidemill.gateway.predictions.validation import checker
from tidemill.gateway.predictions.versions import HasVersions, Runnable
from tidemill.gateway.responses import prediction_serializer
from tidemill.gateway.responses.pages import page
from tidemill.runtime.db import Row

INPUT: Final = "TrainingInput"  # the component of a version's schema that describes the input of train()


class TrainingParts(CreationParts, CancelParts, HasVersions, Protocol): ...


@operation(
    "trainings.create",
    Scope.TRAININGS_WRITE,
    body=CreateTraining,
    headers=RUNNING,
    response=Training,
    status=201,
    rate_kind="creates",
)
async def create(call: Call[TrainingParts]) -> web.Response:
    """Create a training.

    It runs the version's `train()`, and makes a version of the destination from the weights that this writes. The
    destination is a model of the account's own that exists already. A version without `train` in its `cog.yaml`
    answers a 422.
    """
    body = await call.body(CreateTraining)
    runnable = await _version(call)
    owner, _, name = body.destination.partition("/")
    if not await stores.models.find_own_id(call.parts.database, call.account.id, owner, name):
        raise Problem(404, "The specified training destination does not exist")
    if INPUT not in runnable.schema.get("components", {}).get("schemas", {}):
        raise unprocessable("This version cannot be trained: its cog.yaml names no train function.", "Not trainable")
    trainable = msgspec.structs.replace(
        runnable,
        queue=await stores.trainings.ensure_queue(call.parts.database, runnable.queue),
        streams=None,
        check=checker(runnable.schema, INPUT),
        destination=body.destination,
    )
    asked = CreatePrediction(
        input=body.input,
        webhook=body.webhook,
        webhook_completed=body.webhook_completed,
        webhook_events_filter=body.webhook_events_filter,
    )
    return await create_one(call, trainable, asked)


async def _version(call: Call[TrainingParts]) -> Runnable:
    """Return the version in the path. Raise the 404 problem if it is missing or not visible."""
    reference = f"{call.path('owner')}/{call.path('name')}:{call.path('id')}"
    try:
        return await call.parts.versions.resolve(call.account.id, reference)
    except Problem:
        raise not_found() from None


@operation("trainings.list", Scope.TRAININGS_READ, query=queries.PageQuery, headers=STATUS, response=Page[Training])
async def list_(call: Call[TrainingParts]) -> web.Response:
    """List trainings, newest first."""

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.trainings.page(call.parts.database, call.account.id, cursor, limit)

    listed = await page(call, "/trainings", fetch, lambda row: prediction_serializer.of_row(call, row))
    return json_response(listed, headers=NO_STORE)


@operation("trainings.get", Scope.TRAININGS_READ, headers=STATUS, response=Training)
async def get(call: Call[TrainingParts]) -> web.Response:
    """Get a training. It can be polled: the answer is never cached."""
    return json_response(await prediction_serializer.in_detail(call, await _find_own(call)), headers=NO_STORE)


@operation("trainings.cancel", Scope.TRAININGS_WRITE, headers=STATUS, response=Training)
async def cancel(call: Call[TrainingParts]) -> web.Response:
    """Cancel a training. It ends at once; one that has ended is answered unchanged."""
    row = await cancel_open(call.parts, lambda: _find_own(call))
    return json_response(await prediction_serializer.in_detail(call, row), headers=NO_STORE)


async def _find_own(call: Call[TrainingParts]) -> Row:
    training, database = call.path("id"), call.parts.database
    row = await stores.predictions.find(database, training, call.account.id, "training") if is_id(training) else None
    if row is None:
        raise not_found()
    return row
