"""Models and their versions: list, create, get; and the hardware they may ask for."""

from typing import Final

from aiohttp import web
from msgspec import Raw

from tidemill.contracts import api
from tidemill.contracts.access import Scope
from tidemill.contracts.errors import conflict, forbidden, not_found, unprocessable
from tidemill.contracts.hardware import HARDWARE, Hardware, unknown_hardware
from tidemill.gateway import queries, store_models
from tidemill.gateway.cursors import Cursor
from tidemill.gateway.http import Call, json_response, operation
from tidemill.gateway.pages import page
from tidemill.runtime import present
from tidemill.runtime.clock import rfc3339
from tidemill.runtime.db import Row

MODELS_PAGE_SIZE: Final = 25  # each carries its schema and an example


@operation("hardware.list", Scope.MODELS_READ, answer=list[Hardware])
async def hardware(_call: Call) -> web.Response:
    """What models may ask for."""
    return json_response(list(HARDWARE.values()))


@operation("models.list", Scope.MODELS_READ, query=queries.Models, answer=api.Page[api.Model])
async def list_(call: Call) -> web.Response:
    """GET /models: public models with a version; sort_by and sort_direction order them."""
    asked = call.asked(queries.Models)
    examples: dict[str, Row] = {}

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        rows = await store_models.models(call.parts.database, asked, cursor, limit)
        examples.update(await store_models.examples(call.parts.database, [row["model_id"] for row in rows]))
        return rows

    listed = await page(
        call, "/models", fetch, lambda row: _model(call, row, examples.get(row["model_id"])), size=MODELS_PAGE_SIZE
    )
    return json_response(listed)


@operation("models.create", Scope.MODELS_WRITE, body=api.CreateModel, answer=api.Model, status=201, errors=(409,))
async def create(call: Call) -> web.Response:
    """POST /models: an empty model of one's own, to push versions to."""
    body = await call.body(api.CreateModel)
    if body.owner != call.account.username:
        raise forbidden("You can only create models for your own account.")
    if body.hardware not in HARDWARE:
        raise unknown_hardware()
    if not await store_models.create(call.parts.database, call.account.id, body):
        if await store_models.own_model_id(call.parts.database, call.account.id, body.owner, body.name):
            raise conflict(f"A model named {body.owner}/{body.name} exists already.")
        raise unprocessable(f"An account may have at most {store_models.MODELS_LIMIT} models.")
    return json_response(_model(call, await _visible(call, body.owner, body.name), None), 201)


@operation("models.get", Scope.MODELS_READ, answer=api.Model)
async def get(call: Call) -> web.Response:
    row = await _visible(call, call.path("owner"), call.path("name"))
    examples = await store_models.examples(call.parts.database, [row["model_id"]])
    return json_response(_model(call, row, examples.get(row["model_id"])))


async def _visible(call: Call, owner: str, name: str) -> Row:
    row = await store_models.model(call.parts.database, call.account.id, owner, name)
    if row is None:
        raise not_found()
    return row


@operation("models.versions.list", Scope.MODELS_READ, query=queries.Paging, answer=api.Page[api.Version])
async def versions(call: Call) -> web.Response:
    """GET …/versions: newest first."""
    model = await _visible(call, call.path("owner"), call.path("name"))

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await store_models.versions(call.parts.database, model["model_id"], cursor, limit)

    path = f"/models/{model['owner']}/{model['name']}/versions"
    return json_response(await page(call, path, fetch, _version, size=MODELS_PAGE_SIZE))


@operation("models.versions.get", Scope.MODELS_READ, answer=api.Version)
async def version(call: Call) -> web.Response:
    model = await _visible(call, call.path("owner"), call.path("name"))
    row = await store_models.version(call.parts.database, model["model_id"], call.path("id"))
    if row is None:
        raise not_found()
    return json_response(_version(row))


def _model(call: Call, row: Row, example: Row | None) -> api.Model:
    public_url = call.parts.config.public_url
    return api.Model(
        url=f"{public_url.rstrip('/')}/{row['owner']}/{row['name']}",
        owner=row["owner"],
        name=row["name"],
        description=row["description"],
        visibility=row["visibility"],
        is_official=False,
        github_url=row["github_url"],
        paper_url=row["paper_url"],
        license_url=row["license_url"],
        weights_url=row["weights_url"],
        run_count=row["run_count"],
        cover_image_url=row["cover_image_url"],
        created_at=rfc3339(row["created_at"].timestamp()),
        default_example=None
        if example is None
        else present.prediction(dict(example.items()), public_url, stream_url=None),
        latest_version=None if row["version_id"] is None else _version(row),
    )


def _version(row: Row) -> api.Version:
    return api.Version(
        id=row["version_id"],
        created_at=rfc3339(row["version_created_at"].timestamp()),
        cog_version=row["cog_version"],
        openapi_schema=Raw(row["openapi_schema"].encode()),
    )
