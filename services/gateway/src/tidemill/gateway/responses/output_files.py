"""Files in outputs in a form the client can read: URLs, or data URIs for SDKs that ignore plain http URLs."""

import base64
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from tidemill.contracts.api.predictions import Prediction
from tidemill.contracts.limits import DATA_URI_OUTPUT_LIMIT_BYTES, MIB
from tidemill.gateway.call import Call
from tidemill.gateway.protocols import HasConfig, HasObjects, HasSigningKey
from tidemill.gateway.responses.client_capabilities import wants_data_uris
from tidemill.runtime.clock import now
from tidemill.runtime.objects.retries import RetryBudget
from tidemill.runtime.objects.store import ObjectMissing, ObjectStoreError
from tidemill.security.delivery_urls import find_object_key, rewrite_base, rewrite_base_of_text
from tidemill.security.egress.response_headers import content_type

MARK_TEXT: Final = "/delivery/"
MARK: Final = MARK_TEXT.encode()
INLINING_S: Final = 4.0  # retries while the object store restarts; these SDKs cannot use a URL
RESPONSE_LIMIT_BYTES: Final = 16 * MIB  # of all files in one response: all are in memory at once. The rest stay URLs


class OutputFileParts(HasConfig, HasObjects, HasSigningKey, Protocol): ...


async def for_client(call: Call[OutputFileParts], prediction: Prediction) -> Prediction:
    """Replace URLs by data URIs in place if this client needs that; return the prediction."""
    raw = bytes(prediction.output)
    if MARK in raw and wants_inlining(call):
        prediction.output = Raw(msgspec.json.encode(await _Inliner(call).value(msgspec.json.decode(raw))))
    return prediction


async def for_event(call: Call[OutputFileParts], data: str) -> str:
    """Do the same for the data of one stream event: the URL of a file, or a text. A text stays the same object."""
    if MARK_TEXT not in data:
        return data
    if wants_inlining(call):
        return await _Inliner(call).text(data)
    return rewrite_base_of_text(data, call.parts.signing_key, call.public_url)


def on_request_base(call: Call[OutputFileParts], output: Raw) -> Raw:
    """Return the output with file URLs under the public URL by which the request came; workers use the first one."""
    return Raw(rewrite_base(bytes(output), call.parts.signing_key, call.public_url))


def wants_inlining(call: Call[OutputFileParts]) -> bool:
    config = call.parts.config
    user_agent, polling = call.request.headers.get("User-Agent"), call.request.method == "GET"
    return wants_data_uris(user_agent, call.public_url, config.file_output, polling=polling)


class _Inliner:
    """Replaces the URLs in one response and counts the inlined bytes."""

    def __init__(self, call: Call[OutputFileParts]) -> None:
        self._parts = call.parts
        self._left_bytes = RESPONSE_LIMIT_BYTES

    async def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return await self.text(value)
        if isinstance(value, list):
            return [await self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: await self.value(item) for key, item in value.items()}
        return value

    async def text(self, text: str) -> str:
        """Return the data URI; return the text unchanged if it is no URL of ours, or the file is too large or gone."""
        parts = self._parts
        key = find_object_key([parts.signing_key], text, now())
        if key is None:
            return text
        try:
            async with parts.objects.get(key, budget=RetryBudget(INLINING_S)) as response:
                size = response.content_length
                if size is None or size > min(DATA_URI_OUTPUT_LIMIT_BYTES, self._left_bytes):
                    return text
                body = await response.read()
                kind = content_type(response.headers.get("Content-Type"))
        except (ObjectMissing, ObjectStoreError, TimeoutError):
            return text  # a request to the URL returns the error
        self._left_bytes -= len(body)
        return f"data:{kind};base64,{base64.b64encode(body).decode()}"
