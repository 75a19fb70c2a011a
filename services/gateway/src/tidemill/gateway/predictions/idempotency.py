"""Detects repeated creates: by `Idempotency-Key`, or by the retry header of an official client."""

import hashlib
import re
from typing import Final, Protocol

from multidict import istr

from tidemill.contracts.errors import bad_request
from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.gateway.accepted import Accepted
from tidemill.gateway.call import Call
from tidemill.gateway.limits.admission import AdmissionControl
from tidemill.gateway.predictions.accept import Acceptor
from tidemill.gateway.predictions.idempotent_acceptor import RETRY_WINDOW_S, IdempotencyClaim, IdempotentAcceptor

KEY: Final = istr("Idempotency-Key")
RETRY_COUNT: Final = istr("x-stainless-retry-count")  # replicate 2.x for Python retries creates with this header only
RETRY_COUNT_FORM: Final = re.compile(r"[1-9][0-9]?")
KEY_LIMIT_BYTES: Final = 255  # the usual limit of such keys
KEY_FORM: Final = re.compile(rf"[ -~]{{1,{KEY_LIMIT_BYTES}}}")
KEY_LIFETIME_S: Final = 24 * 3600  # long enough for any retry, short enough to keep the table small


class IdempotencyParts(Protocol):
    @property
    def acceptor(self) -> Acceptor: ...
    @property
    def admission(self) -> AdmissionControl: ...
    @property
    def idempotent_acceptor(self) -> IdempotentAcceptor: ...


async def accept_idempotently(call: Call[IdempotencyParts], accepted: Accepted) -> str | None:
    """For requests with either header: return the id of the earlier prediction; None if this one was accepted."""
    earlier = await _accept_or_replay(call, accepted)
    if earlier is not None:
        call.parts.admission.ended(accepted.id)  # it was counted as a new open prediction
    return earlier


async def _accept_or_replay(call: Call[IdempotencyParts], accepted: Accepted) -> str | None:
    acceptor = call.parts.idempotent_acceptor
    key = requested_key(call)
    if key is not None:
        claim = IdempotencyClaim(
            account_id=accepted.account_id,
            key=key,
            id=accepted.id,
            digest=await fingerprint(call),
            lifetime_s=KEY_LIFETIME_S,
            predictions=[accepted],
        )
        earlier = await acceptor.accept(claim)
        return None if earlier is None else earlier.predictions[0]
    count = call.request.headers.get(RETRY_COUNT, "")
    if RETRY_COUNT_FORM.fullmatch(count) is None:
        await call.parts.acceptor.accept(accepted)
        return None
    prefix = f"retry {count} "
    found = await acceptor.join(accepted, prefix)
    if found is None:
        await acceptor.accept(_retried(accepted, prefix))
    return found


def _retried(accepted: Accepted, prefix: str) -> IdempotencyClaim:
    """Return the claim of a retry that found no earlier prediction: no other retry with that count may join it."""
    return IdempotencyClaim(
        account_id=accepted.account_id,
        key=prefix + accepted.id,
        id=accepted.id,
        digest=b"",
        lifetime_s=RETRY_WINDOW_S,
        predictions=[accepted],
    )


def requested_key(call: Call[IdempotencyParts]) -> str | None:
    """Return the request's key as it is stored, or None. Raise the 400 problem for an invalid one."""
    key = call.request.headers.get(KEY)
    if key is None:
        return None
    if KEY_FORM.fullmatch(key) is None:
        raise bad_request(f"Idempotency-Key must be 1 to {KEY_LIMIT_BYTES} printable ASCII characters.")
    return f"key {key}"


async def fingerprint(call: Call[IdempotencyParts]) -> bytes:
    """Return a digest of path and body; the same for every prefix of the path."""
    path = call.request.path.rstrip("/")
    while path.startswith("/v1/"):
        path = path.removeprefix("/v1")
    return hashlib.sha256(path.encode() + b"\0" + await call.read(BODY_LIMIT_BYTES)).digest()
