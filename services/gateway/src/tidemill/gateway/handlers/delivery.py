"""Files that models made, by their signed URL."""

from typing import Protocol

from aiohttp import web

from tidemill.contracts.errors import not_found
from tidemill.gateway.call import BYTES, Call, operation
from tidemill.gateway.files.downloads import CONDITIONAL_HEADERS, ServedObject, serve_object
from tidemill.gateway.protocols import HasObjects, HasSigningKey
from tidemill.runtime.clock import now
from tidemill.security.capability import InvalidCapability
from tidemill.security.delivery_urls import object_key_of_token


class DeliveryParts(HasObjects, HasSigningKey, Protocol): ...


@operation("delivery.get", signed=True, headers=CONDITIONAL_HEADERS, response=BYTES, errors=(412,))
async def get(call: Call[DeliveryParts]) -> web.StreamResponse:
    """Download a file that a model made, by its signed URL.

    It can be had in parts (`Range`) and on conditions. Bad, expired and missing URLs look alike.
    """
    try:
        key = object_key_of_token([call.parts.signing_key], call.path("token"), now())
    except InvalidCapability:
        raise not_found() from None
    return await serve_object(call, ServedObject(key, key.rpartition("/")[2]))
