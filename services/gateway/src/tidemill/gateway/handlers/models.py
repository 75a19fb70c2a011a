"""Models: list, create, get, update, delete, README; and the list of hardware."""

from typing import Any, Final, Protocol

from aiohttp import web
from msgspec import UNSET, structs

from tidemill.contracts.access import Scope
from tidemill.contracts.api.models import CreateModel, Model, UpdateModel
from tidemill.contracts.api.pages import Page
from tidemill.contracts.errors import conflict, forbidden, invalid_member, not_found, unprocessable
from tidemill.contracts.hardware import HARDWARE, Hardware, unknown_hardware
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.handlers import search
from tidemill.gateway.handlers.model_lookup import find_own_id, find_visible, model_path
from tidemill.gateway.handlers.search import SearchParts
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.predictions.versions import HasVersions
from tidemill.gateway.protocols import HasTariffs
from tidemill.gateway.responses import model_serializer
from tidemill.gateway.responses.pages import page
from tidemill.runtime.db import Row

MODELS_PAGE_SIZE: Final = 25  # each carries its schema and an example


class ModelParts(SearchParts, HasTariffs, HasVersions, Protocol): ...


@operation("hardware.list", Scope.MODELS_READ, response=list[Hardware])
async def hardware(call: Call[ModelParts]) -> web.Response:
    """What models and deployments may ask for, with the price of a second."""
    return json_response(call.parts.tariffs.hardware())


@operation("models.list", Scope.MODELS_READ, query=queries.ModelsQuery, response=Page[Model])
async def list_(call: Call[ModelParts]) -> web.Response:
    """Public models that can be run and show an example.

    `sort_by` and `sort_direction` order them. With `owner` (an extension) only those of one account, and when that is
    your own, also private ones and those without a version or an example.
    """
    asked = call.parse_query(queries.ModelsQuery)
    if asked.query:
        return json_response(await search.search_page(call, asked.query))
    default_examples: dict[str, Row] = {}

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        rows = await stores.models.page(call.parts.database, call.account.id, asked, cursor, limit)
        default_examples.update(
            await stores.examples.find_defaults(call.parts.database, [row["model_id"] for row in rows])
        )
        return rows

    def serialize(row: Row) -> Model:
        return model_serializer.model(call, row, default_examples.get(row["model_id"]))

    return json_response(await page(call, "/models", fetch, serialize, size=MODELS_PAGE_SIZE))


@operation("models.create", Scope.MODELS_WRITE, body=CreateModel, response=Model, status=201, errors=(409,))
async def create(call: Call[ModelParts]) -> web.Response:
    """Make an empty model of your own, to push versions to.

    `owner` is the account that the token acts for. An account may have 1,000 models.
    """
    body = await call.body(CreateModel)
    if body.owner != call.account.username:
        own = call.account.username
        raise forbidden(
            f"You can only create models for your own account. This token acts for {own}: "
            f"name the model {own}/{body.name}."
        )
    if body.hardware not in HARDWARE:
        raise unknown_hardware()
    if not await stores.models.create(call.parts.database, call.account.id, body):
        if await stores.models.find_own_id(call.parts.database, call.account.id, body.owner, body.name):
            raise conflict(f"A model named {body.owner}/{body.name} exists already.")
        raise unprocessable(f"An account may have at most {stores.models.MODELS_LIMIT} models.")
    location = call.location(f"/models/{body.owner}/{body.name}")
    return json_response(await _read_model(call, body.owner, body.name), 201, location)


@operation("models.get", Scope.MODELS_READ, response=Model)
async def get(call: Call[ModelParts]) -> web.Response:
    """A model with its latest version and its default example."""
    return json_response(await _read_model(call, *model_path(call)))


async def _read_model(call: Call[ModelParts], owner: str, name: str) -> Model:
    row = await find_visible(call, owner, name)
    default_examples = await stores.examples.find_defaults(call.parts.database, [row["model_id"]])
    return model_serializer.model(call, row, default_examples.get(row["model_id"]))


@operation("models.update", Scope.MODELS_WRITE, body=UpdateModel, response=Model)
async def update(call: Call[ModelParts]) -> web.Response:
    """Change what is said of a model of your own, and who may see it.

    What the body does not name stays; null clears. `visibility`, `hardware`, `cover_image_url` and `default_example`
    (the id of one of the model's examples; null for the first) are extensions.
    """
    model_id = await find_own_id(call)
    changes = _changes(await call.body(UpdateModel))
    if changes.get("hardware", "cpu") not in HARDWARE:
        raise unknown_hardware()
    chosen = changes.get("default_example")
    if chosen is not None and await stores.examples.find(call.parts.database, model_id, chosen) is None:
        raise invalid_member("default_example", "Must be the id of one of the model's examples")
    await stores.models.update(call.parts.database, model_id, changes)
    call.parts.versions.forget()  # the cache would let others run a model that is private now
    return json_response(await _read_model(call, *model_path(call)))


def _changes(body: UpdateModel) -> dict[str, Any]:
    """Return the changes by column; the empty text clears a column, as null does."""
    return {column: value or None for column, value in structs.asdict(body).items() if value is not UNSET}


@operation("models.delete", Scope.MODELS_WRITE, status=204, errors=(409,))
async def delete(call: Call[ModelParts]) -> web.Response:
    """Delete a model of your own that is private and has no versions left."""
    refusal = await stores.models.delete(call.parts.database, await find_own_id(call))
    if refusal is not None:
        raise conflict(refusal)
    return web.Response(status=204)


@operation("models.readme.get", Scope.MODELS_READ, response="text/plain")
async def readme(call: Call[ModelParts]) -> web.Response:
    """A model's README as Markdown; 404 when it has none."""
    text = await stores.models.find_readme(call.parts.database, call.account.id, *model_path(call))
    if not text:
        raise not_found()
    return web.Response(text=text, content_type="text/plain", charset="utf-8")
