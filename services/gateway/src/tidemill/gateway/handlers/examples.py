"""Examples of models: predictions that show what a model does. Their data is kept while they are examples."""

from typing import Protocol

import msgspec
from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.models import AddExample
from tidemill.contracts.api.pages import Page
from tidemill.contracts.api.predictions import Prediction
from tidemill.contracts.errors import Problem, conflict, not_found, unprocessable
from tidemill.contracts.ids import is_id
from tidemill.contracts.limits import EXAMPLES_LIMIT
from tidemill.contracts.prediction import Status
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.handlers.model_lookup import find_own_id, find_visible_here, model_path
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasConfig
from tidemill.gateway.responses import input_files, model_serializer
from tidemill.gateway.responses.input_files import InputFileParts
from tidemill.gateway.responses.pages import page
from tidemill.runtime.db import Row


class ExampleParts(InputFileParts, HasConfig, Protocol): ...


@operation("models.examples.list", Scope.MODELS_READ, query=queries.PageQuery, response=Page[Prediction])
async def list_(call: Call[ExampleParts]) -> web.Response:
    """A model's examples, the newest prediction first."""
    model = await find_visible_here(call)

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.examples.page(call.parts.database, model["model_id"], cursor, limit)

    path = f"/models/{model['owner']}/{model['name']}/examples"
    return json_response(await page(call, path, fetch, lambda row: model_serializer.example(call, row)))


@operation(
    "models.examples.create", Scope.MODELS_WRITE, body=AddExample, response=Prediction, status=201, errors=(409,)
)
async def create(call: Call[ExampleParts]) -> web.Response:
    """Make a prediction an example of your own model: everybody who may see the model sees it, for ever.

    It is a prediction of yours that succeeded with this model and whose data is still there. Files that its input
    names are copied. Repeating it changes nothing.
    """
    model_id = await find_own_id(call)
    prediction_id = (await call.body(AddExample)).prediction
    row = await _candidate(call, model_id, prediction_id)
    if await stores.examples.find(call.parts.database, model_id, prediction_id) is None:
        rewritten = await input_files.copy_input_files(call, prediction_id, row["input"])
        if not await stores.examples.add(call.parts.database, model_id, prediction_id, rewritten):
            raise conflict(f"A model may have at most {EXAMPLES_LIMIT} examples, of predictions that have their data.")
    added = await stores.examples.find(call.parts.database, model_id, prediction_id)
    if added is None:
        raise not_found()
    return json_response(model_serializer.example(call, added), 201, call.location(f"/predictions/{added['id']}"))


async def _candidate(call: Call[ExampleParts], model_id: str, prediction_id: str) -> Row:
    """Return the prediction's row. Raise a problem with the reason if it cannot be an example."""
    parts = call.parts
    row = None
    if is_id(prediction_id):
        row = await stores.examples.find_candidate(
            parts.database, call.account.id, prediction_id, model_id, parts.config.retention_s
        )
    if row is None:
        raise Problem(404, "The specified prediction does not exist")
    if row["model"] != "/".join(model_path(call)):
        raise unprocessable(f"The prediction is of the model {row['model']}.")
    if row["status"] != Status.SUCCEEDED:
        raise conflict(f"Only a prediction that has succeeded can be an example; this one is {row['status']}.")
    if row["data_removed"] or not row["kept"] or row["secret_inputs"] is None:  # None: its version is deleted
        raise conflict("The data of the prediction is gone or about to go.")
    if not msgspec.json.decode(row["input"], type=dict).keys().isdisjoint(row["secret_inputs"]):
        raise unprocessable("The prediction's input holds a secret, which an example would show.")
    return row


@operation("models.examples.delete", Scope.MODELS_WRITE, status=204)
async def delete(call: Call[ExampleParts]) -> web.Response:
    """Take an example away from your own model. The prediction stays, its data only as long as that of any other."""
    model_id, prediction_id = await find_own_id(call), call.path("id")
    if not is_id(prediction_id) or not await stores.examples.remove(call.parts.database, model_id, prediction_id):
        raise not_found()
    return web.Response(status=204)
