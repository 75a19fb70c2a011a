"""Full-text search: of models in two forms, and of models, collections and documentation pages together."""

import contextlib
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.models import Model
from tidemill.contracts.api.pages import Page
from tidemill.contracts.api.search import FoundCollection, FoundModel, FoundPage, SearchMetadata, SearchResults
from tidemill.contracts.errors import Problem, bad_request, unprocessable
from tidemill.contracts.limits import BODY_LIMIT_BYTES, SEARCH_LIMIT_CHARS
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasDatabase, HasSigningKey
from tidemill.gateway.reference.documentation import DOCUMENTATION
from tidemill.gateway.responses import model_serializer
from tidemill.gateway.responses.pages import page
from tidemill.runtime.db import Row

SEARCH_PAGE_SIZE: Final = 25  # each model carries its schema and an example
COLLECTIONS_LIMIT: Final = 10  # of one search
PAGES_LIMIT: Final = 10


class SearchParts(HasDatabase, HasSigningKey, Protocol): ...


@operation("models.search", Scope.MODELS_READ, body="text/plain", response=Page[Model])
async def models(call: Call[SearchParts]) -> web.Response:
    """Find models: the body is the text to look for.

    Public models that can be run and have an example, and have all the words in their name, owner, description or
    README; the best first. The text may be plain, in JSON's quotes, or JSON. Further pages are GET requests.
    """
    text = query_text(await call.read(BODY_LIMIT_BYTES))
    return json_response(await search_page(call, text))


def query_text(body: bytes) -> str:
    """Return the search text of a body: clients send it raw or as a JSON string. Raise the 400 and 422 problems."""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        raise bad_request("The request body is not UTF-8.") from None
    if text.startswith('"') and text.endswith('"'):
        with contextlib.suppress(msgspec.MsgspecError):  # not JSON: a search for words in quotes
            text = msgspec.json.decode(text, type=str).strip()
    if len(text) > SEARCH_LIMIT_CHARS:
        raise unprocessable(f"A search has at most {SEARCH_LIMIT_CHARS} characters.")
    return text.replace("\0", " ")


async def search_page(call: Call[SearchParts], text: str) -> Page[Any]:
    """Return a page of the models found; of all listed models if the text is empty."""
    default_examples: dict[str, Row] = {}
    everything = queries.ModelsQuery()
    text = text.replace("\0", " ").strip()

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        database = call.parts.database
        if text:
            rows = await stores.discovery.search_models(database, text, cursor, limit)
        else:
            rows = await stores.models.page(database, call.account.id, everything, cursor, limit)
        default_examples.update(await stores.examples.find_defaults(database, [row["model_id"] for row in rows]))
        return rows

    def serialize(row: Row) -> Model:
        return model_serializer.model(call, row, default_examples.get(row["model_id"]))

    return await page(call, "/models", fetch, serialize, size=SEARCH_PAGE_SIZE, filters={"query": text} if text else {})


@operation("search", Scope.MODELS_READ, query=queries.SearchQuery, response=SearchResults)
async def everything(call: Call[SearchParts]) -> web.Response:
    """Find models, collections and pages of the documentation by their words; the best first.

    `limit` is how many models at most. A page's `href` shows it to browsers, and answers Markdown to programs.
    """
    if not call.query.get("query"):
        raise Problem(400, 'Query parameter "query" is required')
    asked = call.parse_query(queries.SearchQuery)
    database, text = call.parts.database, asked.query.replace("\0", " ")
    rows = await stores.discovery.search_models(database, text, None, asked.limit)
    default_examples = await stores.examples.find_defaults(database, [row["model_id"] for row in rows])
    collections = await stores.discovery.search_collections(database, call.account.id, text, COLLECTIONS_LIMIT)
    found = SearchResults(
        query=asked.query,
        models=[
            FoundModel(
                model=model_serializer.model(call, row, default_examples.get(row["model_id"])),
                metadata=SearchMetadata(generated_description=None, tags=[], score=float(row["score"])),
            )
            for row in rows
        ],
        collections=[
            FoundCollection(name=row["name"], slug=row["slug"], description=row["description"], models=row["models"])
            for row in collections
        ],
        pages=[
            FoundPage(name=found.title, href=f"{call.api_url}/docs/{found.name}")
            for found in call.request.app[DOCUMENTATION].search.find(text, PAGES_LIMIT)
        ],
    )
    return json_response(found)
