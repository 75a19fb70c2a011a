"""Several predictions in one request: each is checked by itself, the valid ones are accepted in one statement."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
from aiohttp import web

from tidemill.contracts.api.batches import Batch, BatchResult, CreateBatchItems, ItemProblem
from tidemill.contracts.api.predictions import CreatePredictionOfVersion
from tidemill.contracts.errors import Problem, conflict
from tidemill.contracts.ids import new_id
from tidemill.gateway import stores
from tidemill.gateway.accepted import Accepted
from tidemill.gateway.call import Call, decode, json_response
from tidemill.gateway.predictions.creation import CreationParts, prepare, traceparent_of
from tidemill.gateway.predictions.idempotency import KEY_LIFETIME_S, fingerprint, requested_key
from tidemill.gateway.predictions.idempotent_acceptor import FirstResult, IdempotencyClaim
from tidemill.gateway.predictions.replay import REPLAYED
from tidemill.gateway.predictions.versions import HasVersions
from tidemill.gateway.responses import prediction_serializer
from tidemill.runtime.streams.urls import Carried
from tidemill.runtime.telemetry import span

encode: Final = msgspec.json.Encoder().encode


class BatchParts(CreationParts, HasVersions, Protocol): ...


class CheckedItem(NamedTuple):
    """An item that can be accepted, or the problem that refuses it."""

    accepted: Accepted | None
    streams: Carried | None = None
    problem: ItemProblem | None = None


async def create(call: Call[BatchParts], body: CreateBatchItems) -> web.Response:
    """Create the predictions. Raise the 422 problem if none is created; its `results` have the reasons."""
    with span("create predictions", traceparent_of(call.request.headers.get("traceparent"))) as traceparent:
        items = [await _checked(call, raw, traceparent) for raw in body.predictions]
        wanted = [item.accepted for item in items if item.accepted is not None]
        if not wanted or (body.atomic and len(wanted) < len(items)):
            _uncount(call, wanted)
            raise _nothing_created(items)
        earlier = await _accept(call, items, wanted)
    if earlier is not None:
        _uncount(call, wanted)
        return json_response(await _replayed(call, earlier), 201, REPLAYED)
    return json_response(Batch(results=[_result(call, item) for item in items]), 201)


async def _checked(call: Call[BatchParts], raw: msgspec.Raw, traceparent: str | None) -> CheckedItem:
    try:
        body = decode(bytes(raw), CreatePredictionOfVersion)
        runnable = await call.parts.versions.resolve(call.account.id, body.version)
        return CheckedItem(prepare(call, runnable, body, traceparent), runnable.streams)
    except Problem as problem:
        return CheckedItem(None, problem=_item(problem))


def _item(problem: Problem) -> ItemProblem:
    return msgspec.convert(problem.body(), ItemProblem)


async def _accept(
    call: Call[BatchParts], items: Sequence[CheckedItem], wanted: Sequence[Accepted]
) -> FirstResult | None:
    key = requested_key(call)
    if key is None:
        await call.parts.acceptor.accept_together(wanted)
        return None
    problems = [item.problem for item in items]
    claim = IdempotencyClaim(
        account_id=call.account.id,
        key=key,
        id=new_id(),
        digest=await fingerprint(call),
        lifetime_s=KEY_LIFETIME_S,
        predictions=[item.accepted for item in items],
        problems=encode(problems) if any(problems) else None,
    )
    return await call.parts.idempotent_acceptor.accept(claim)


def _uncount(call: Call[BatchParts], predictions: Sequence[Accepted]) -> None:
    """Take them off the count of open predictions: checking has counted them."""
    for prediction in predictions:
        call.parts.admission.ended(prediction.id)


def _result(call: Call[BatchParts], item: CheckedItem) -> BatchResult:
    if item.accepted is not None:
        return BatchResult(
            status=201, prediction=prediction_serializer.from_accepted(call, item.accepted, item.streams)
        )
    return _refused(item.problem)


def _refused(problem: ItemProblem | None) -> BatchResult:
    problem = problem or _item(conflict("The prediction that this request has made before was deleted."))
    return BatchResult(status=problem.status, problem=problem)


def _nothing_created(items: Sequence[CheckedItem]) -> Problem:
    results = [_refused(item.problem) if item.problem else BatchResult(status=424) for item in items]
    refused = sum(item.problem is not None for item in items)
    return Problem(
        422,
        f"No prediction was created: {refused} of {len(items)} are not as they should be.",
        "Invalid request",
        extra={"results": msgspec.to_builtins(results)},
    )


async def _replayed(call: Call[BatchParts], earlier: FirstResult) -> Batch:
    """Return the predictions of the first request with the key, as they are now."""
    ids = [each for each in earlier.predictions if each is not None]
    rows = {row["id"]: row for row in await stores.predictions.find_many(call.parts.database, ids, call.account.id)}
    count = len(earlier.predictions)
    problems = [None] * count if earlier.problems is None else _problems(earlier.problems)
    results = []
    for prediction_id, problem in zip(earlier.predictions, problems, strict=True):
        row = rows.get(prediction_id or "")
        if row is None:
            results.append(_refused(problem))
        else:
            results.append(BatchResult(status=201, prediction=await prediction_serializer.in_detail(call, row)))
    return Batch(results=results)


def _problems(text: str) -> list[ItemProblem | None]:
    return msgspec.json.decode(text, type=list[ItemProblem | None])
