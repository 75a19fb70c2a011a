"""The AsyncAPI document of the events on NATS."""

from functools import cache
from typing import Final

from aiohttp import web

from tidemill.contracts import asyncapi
from tidemill.gateway.call import Call, operation
from tidemill.gateway.protocols import HasConfig

JSON: Final = "application/json"
printed: Final = cache(asyncapi.render_document)  # one server, one address


@operation("docs.asyncapi", response=JSON)
async def get(call: Call[HasConfig]) -> web.Response:
    """Get the AsyncAPI document: the events that subscribers hear on NATS, their subjects, headers and payloads."""
    text = printed(call.parts.config.nats_public_url or asyncapi.LOCAL_URL)
    headers = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, content_type=JSON, headers=headers)
