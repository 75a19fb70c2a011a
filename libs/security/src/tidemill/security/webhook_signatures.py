"""Signatures of webhook deliveries by Standard Webhooks 1.0, which Replicate's clients verify.

Signs the exact bytes that are sent. The body must be final: a signature over a re-encoded body fails at the receiver.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 -- the public prefix of the format
SECRET_BYTES = 24  # the least that Standard Webhooks allows, and what Replicate and Svix hand out


def new_secret() -> str:
    """Return `whsec_` and 32 characters of standard base64.

    That alphabet has no underscore: Replicate's Python client splits the secret at underscores and expects exactly one.
    """
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secrets: Sequence[str], id: str, timestamp: int, body: bytes) -> str:  # noqa: A002 -- the header is webhook-id
    """Return the value of `webhook-signature`: one `v1,<base64>` per secret, so that a receiver may have the old or the
    new one during a rotation. `timestamp` is the time of the try in unix seconds.
    """
    if not secrets:
        raise ValueError("a delivery needs at least one secret")
    if "." in id:
        raise ValueError("a webhook id must not contain a dot: dots separate the signed parts")
    head = f"{id}.{timestamp}.".encode()
    return " ".join(_signature(_key(secret), head, body) for secret in secrets)


def _signature(key: bytes, head: bytes, body: bytes) -> str:
    mac = hmac.new(key, head, hashlib.sha256)
    mac.update(body)
    return "v1," + base64.b64encode(mac.digest()).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with {SECRET_PREFIX}")
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
