"""Predictions: create in all forms, get, list, cancel; share, unshare and delete."""

from typing import Protocol

from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.batches import Batch, CreateBatch, CreateBatchItems
from tidemill.contracts.api.pages import Page
from tidemill.contracts.api.predictions import CreatePrediction, CreatePredictionOfVersion, Prediction
from tidemill.contracts.errors import Problem, conflict, not_found, unauthenticated
from tidemill.contracts.ids import is_id
from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.gateway import stores
from tidemill.gateway.call import Call, decode, json_response, operation
from tidemill.gateway.limits.rates import RateLimiter
from tidemill.gateway.listing import queries
from tidemill.gateway.predictions import batch, deletion
from tidemill.gateway.predictions.batch import BatchParts
from tidemill.gateway.predictions.canceling import CancelParts
from tidemill.gateway.predictions.canceling import cancel as cancel_open
from tidemill.gateway.predictions.creation import create as create_prediction
from tidemill.gateway.predictions.deletion import DeletionParts
from tidemill.gateway.responses import prediction_serializer, sharing
from tidemill.gateway.responses.pages import page
from tidemill.gateway.responses.sharing import SharingParts
from tidemill.runtime.db import Row
from tidemill.runtime.predictions import sharing as prediction_sharing

RUNNING = ("Prefer", "Cancel-After", "Idempotency-Key")
STATUS = ("Prefer",)  # whether the client knows `aborted`
NO_STORE = {"Cache-Control": "no-store"}  # frameworks that cache GETs would poll their own cache forever


class PredictionParts(BatchParts, CancelParts, DeletionParts, SharingParts, Protocol):
    @property
    def rate_limiter(self) -> RateLimiter: ...


@operation(
    "predictions.create",
    Scope.PREDICTIONS_WRITE,
    body=CreatePredictionOfVersion,
    headers=RUNNING,
    response=Prediction,
    status=201,
    rate_kind="creates",
)
async def create(call: Call[PredictionParts]) -> web.Response:
    """Create a prediction. `version` is 64 hexadecimal digits, owner/name:version, or owner/name for the latest."""
    body = decode(await call.read(BODY_LIMIT_BYTES), CreatePredictionOfVersion)
    return await create_prediction(call, await call.parts.versions.resolve(call.account.id, body.version), body)


@operation(
    "models.predictions.create",
    Scope.PREDICTIONS_WRITE,
    body=CreatePrediction,
    headers=RUNNING,
    response=Prediction,
    status=201,
    rate_kind="creates",
)
async def create_for_model(call: Call[PredictionParts]) -> web.Response:
    """Create a prediction with a model's latest version."""
    body = decode(await call.read(BODY_LIMIT_BYTES), CreatePrediction)
    runnable = await call.parts.versions.latest(call.account.id, call.path("owner"), call.path("name"))
    return await create_prediction(call, runnable, body)


@operation(
    "predictions.batch.create",
    Scope.PREDICTIONS_WRITE,
    body=CreateBatch,
    headers=("Cancel-After", "Idempotency-Key"),
    response=Batch,
    status=201,
    rate_kind="creates",
)
async def create_batch(call: Call[PredictionParts]) -> web.Response:
    """Create several predictions in one request.

    Each item is what POST /predictions takes. The answer has one result for each, in their order: its `status` is 201
    and it has a `prediction`, or it has the `problem` for which it was refused while the others were created. When
    none was created, and with `atomic` when any item is refused, the answer is a 422 whose `results` say why (424 for
    those that were refused only because of others). `Cancel-After` goes for every item, `Idempotency-Key` for the
    request as a whole. Each item counts as one create. There is no waiting: poll, or give a webhook.
    """
    body = await call.body(CreateBatchItems)
    if len(body.predictions) > 1:
        rest = len(body.predictions) - 1  # `http.bind` has counted the request as one
        await call.parts.rate_limiter.take(call.request, call.account, cost=rest)
    return await batch.create(call, body)


@operation("predictions.get", Scope.PREDICTIONS_READ, headers=STATUS, response=Prediction, anonymous=True)
async def get(call: Call[PredictionParts]) -> web.Response:
    """Get a prediction. It can be polled: the answer is never cached.

    A shared prediction, and an example of a public model, can be read by everybody, also without a token; others see
    neither secret inputs nor the webhook, the deployment and the stream.
    """
    return json_response(await read_visible(call), headers=NO_STORE)


async def read_visible(call: Call[PredictionParts]) -> Prediction:
    """Return the prediction in the path as the caller may see it. Raise the 404 and the 401 problem."""
    prediction_id, account = call.path("id"), call.account.id
    row = (
        await stores.predictions.find_visible(call.parts.database, prediction_id, account)
        if is_id(prediction_id)
        else None
    )
    if row is None:
        raise not_found() if account else unauthenticated(passed=False)
    prediction = prediction_serializer.in_detail if row["account_id"] == account else sharing.as_others_see
    return await prediction(call, row)


async def _find_own(call: Call[PredictionParts]) -> Row:
    prediction_id = call.path("id")
    row = (
        await stores.predictions.find(call.parts.database, prediction_id, call.account.id)
        if is_id(prediction_id)
        else None
    )
    if row is None:
        raise not_found()
    return row


@operation(
    "predictions.list",
    Scope.PREDICTIONS_READ,
    query=queries.PredictionsQuery,
    headers=STATUS,
    response=Page[Prediction],
)
async def list_(call: Call[PredictionParts]) -> web.Response:
    """List predictions, newest first.

    Every filter narrows the list. With a filter that few predictions pass, a page may hold fewer than 100, or none,
    and still have a `next`.
    """
    search = stores.predictions.PredictionScan(
        call.parts.database, call.account.id, call.parse_query(queries.PredictionsQuery)
    )
    listed = await page(
        call,
        "/predictions",
        search.fetch,
        lambda row: prediction_serializer.of_row(call, row),
        stopped_at=lambda: search.stopped_at,
    )
    return json_response(listed, headers=NO_STORE)


@operation("predictions.cancel", Scope.PREDICTIONS_WRITE, headers=STATUS, response=Prediction)
async def cancel(call: Call[PredictionParts]) -> web.Response:
    """Cancel a prediction. It ends at once, and whoever runs it is told; one that has ended is answered unchanged."""
    row = await cancel_open(call.parts, lambda: _find_own(call))
    return json_response(await prediction_serializer.in_detail(call, row), headers=NO_STORE)


@operation("predictions.share", Scope.PREDICTIONS_WRITE, response=Prediction, errors=(409,))
async def share(call: Call[PredictionParts]) -> web.Response:
    """Share a prediction: everybody who has its address can read it, and its data is kept.

    It can be shared while it runs, and until its data is deleted; after that the answer is 409. Files that the input of
    an ended one names are kept with it.
    """
    row = await _find_own(call)
    kept_s = prediction_serializer.kept_s(call.parts.config, row["retention_s"])
    if not await prediction_sharing.share(call.parts.database, row["id"], kept_s):
        raise conflict("The data of this prediction has been deleted, or is about to be.")
    await sharing.keep_input_files(call, row)
    return json_response(await prediction_serializer.in_detail(call, await _find_own(call)), headers=NO_STORE)


@operation("predictions.unshare", Scope.PREDICTIONS_WRITE, status=204)
async def unshare(call: Call[PredictionParts]) -> web.Response:
    """Stop sharing a prediction. Nobody else can read it any more, and its data goes when it would have gone."""
    row = await _find_own(call)
    await prediction_sharing.unshare(call.parts.database, row["id"])
    return web.Response(status=204)


@operation("predictions.delete", Scope.PREDICTIONS_WRITE, status=204, errors=(409,))
async def delete(call: Call[PredictionParts]) -> web.Response:
    """Delete a prediction with its input, output, logs and files. One that is open is canceled first.

    Webhooks that were not delivered yet are not sent. An example must be removed from its model before (409).
    """
    if (await _find_own(call))["is_example"]:
        raise _example()
    row = await cancel_open(call.parts, lambda: _find_own(call))
    if not await deletion.delete(call.parts, row):
        await _find_own(call)  # raises 404 if a concurrent request has deleted it
        raise _example()
    return web.Response(status=204)


def _example() -> Problem:
    return conflict("This prediction is an example of its model. Remove it from the examples first.")
