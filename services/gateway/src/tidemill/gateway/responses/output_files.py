"""Files in outputs as the client can read them: URLs, or data URIs for SDKs that make no file of a plain http URL."""

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
INLINING_S: Final = 4.0  # for a store that restarts: a URL is what SDKs make no file of, and the answer is waited for
ANSWER_LIMIT_BYTES: Final = 16 * MIB  # files in one answer, since all are held at once; the others stay URLs


class OutputFileParts(HasConfig, HasObjects, HasSigningKey, Protocol): ...


async def for_client(call: Call[OutputFileParts], prediction: Prediction) -> Prediction:
    """Changes the prediction in place where this client needs it."""
    raw = bytes(prediction.output)
    if MARK in raw and wants(call):
        prediction.output = Raw(msgspec.json.encode(await _Inliner(call).value(msgspec.json.decode(raw))))
    return prediction


async def for_event(call: Call[OutputFileParts], data: str) -> str:
    """The data of one stream event, likewise: the URL of a file, or a text, which stays the same object."""
    if MARK_TEXT not in data:
        return data
    if wants(call):
        return await _Inliner(call).text(data)
    return rewrite_base_of_text(data, call.parts.signing_key, call.public_url)


def here(call: Call[OutputFileParts], output: Raw) -> Raw:
    """With URLs of files under the public URL by which the request came: workers make them under the first."""
    return Raw(rewrite_base(bytes(output), call.parts.signing_key, call.public_url))


def wants(call: Call[OutputFileParts]) -> bool:
    config = call.parts.config
    user_agent, polling = call.request.headers.get("User-Agent"), call.request.method == "GET"
    return wants_data_uris(user_agent, call.public_url, config.file_output, polling=polling)


class _Inliner:
    """Walks one answer and counts what it has put in."""

    def __init__(self, call: Call[OutputFileParts]) -> None:
        self._parts = call.parts
        self._left_bytes = ANSWER_LIMIT_BYTES

    async def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return await self.text(value)
        if isinstance(value, list):
            return [await self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: await self.value(item) for key, item in value.items()}
        return value

    async def text(self, text: str) -> str:
        """The data URI, or the text as it is when it is no file of ours, or too large, or gone."""
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
            return text  # the URL itself will tell why
        self._left_bytes -= len(body)
        return f"data:{kind};base64,{base64.b64encode(body).decode()}"
