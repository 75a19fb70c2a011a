"""Collections: models that the operator has grouped under a heading."""

import re
from typing import Final, Protocol

from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.models import Collection, CollectionSummary
from tidemill.contracts.api.pages import Page
from tidemill.contracts.errors import not_found
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.protocols import HasDatabase, HasSigningKey
from tidemill.gateway.responses import model_serializer
from tidemill.gateway.responses.pages import page
from tidemill.runtime.db import Row

SLUG: Final = re.compile(r"[a-z0-9-]{1,64}")


class CollectionParts(HasDatabase, HasSigningKey, Protocol): ...


@operation("collections.list", Scope.MODELS_READ, query=queries.PageQuery, response=Page[CollectionSummary])
async def list_(call: Call[CollectionParts]) -> web.Response:
    """All collections, by their slugs from a to z."""

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.discovery.collections_page(call.parts.database, cursor, limit)

    return json_response(await page(call, "/collections", fetch, _summary))


def _summary(row: Row) -> CollectionSummary:
    return CollectionSummary(name=row["name"], slug=row["slug"], description=row["description"])


@operation("collections.get", Scope.MODELS_READ, response=Collection)
async def get(call: Call[CollectionParts]) -> web.Response:
    """A collection with its models, those that you may see."""
    slug, database = call.path("slug"), call.parts.database
    row = await stores.discovery.find_collection(database, slug) if SLUG.fullmatch(slug) else None
    if row is None:
        raise not_found()
    members = await stores.discovery.models_of_collection(database, call.account.id, slug)
    default_examples = await stores.examples.find_defaults(database, [each["model_id"] for each in members])
    collection = Collection(
        name=row["name"],
        slug=row["slug"],
        description=row["description"],
        full_description=row["full_description"],
        models=[model_serializer.model(call, each, default_examples.get(each["model_id"])) for each in members],
    )
    return json_response(collection)
