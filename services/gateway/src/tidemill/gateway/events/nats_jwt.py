"""The format of NATS's auth callout: the server's request, and the signed response with the user's permissions.

A JWT of NATS is `header.claims.signature` in unpadded base64url, signed with Ed25519 over the first two parts; `jti` is
the base32 of the claims' SHA-256. The claims are those of github.com/nats-io/jwt, version 2. The request's signature
is not checked: only the services' own account can publish there, and the response is bound to the key it names.
"""

import base64
import binascii
import hashlib
from typing import Any, Final

import msgspec
import nkeys

from tidemill.contracts.subjects import EXTERNAL_ACCOUNT
from tidemill.gateway.events.permissions import Permissions

HEADER: Final = b'{"typ":"JWT","alg":"ed25519-nkey"}'
VERSION: Final = 2


class MalformedError(ValueError):
    """The message is not an authorization request."""


class _ServerId(msgspec.Struct, frozen=True):
    id: str


class _ConnectOptions(msgspec.Struct, frozen=True, kw_only=True):
    auth_token: str = ""
    password: str = msgspec.field(name="pass", default="")


class _ConnectRequest(msgspec.Struct, frozen=True):
    server_id: _ServerId
    user_nkey: str
    connect_opts: _ConnectOptions


class _Claims(msgspec.Struct, frozen=True):
    nats: _ConnectRequest


class CalloutRequest(msgspec.Struct, frozen=True):
    """A connection to authorize. `token`: what the client sent as the token or as the password."""

    server: str
    user: str  # the public key that the server made for this connection
    token: str


def read(message: bytes) -> CalloutRequest:
    """Return the request. Raise MalformedError."""
    try:
        _, claims, _ = message.split(b".")
        asked = msgspec.json.decode(base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4)), type=_Claims).nats
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise MalformedError(str(error)) from None
    options = asked.connect_opts
    return CalloutRequest(asked.server_id.id, asked.user_nkey, options.auth_token or options.password)


class CalloutSigner:
    """Signs responses with the seed of an account key (`SA…`). The servers know its public half as the issuer."""

    def __init__(self, seed: str) -> None:
        self._keys = nkeys.from_seed(bytearray(seed.encode()))
        self.issuer = bytes(self._keys.public_key).decode()

    def refusal(self, request: CalloutRequest, why: str, now: float) -> bytes:
        return self._response(request, {"error": why}, now)

    def admission(self, request: CalloutRequest, name: str, rights: Permissions, now: float, until: float) -> bytes:
        """Admit the connection as `name` until a moment in unix seconds."""
        user = {
            "sub": request.user,
            "aud": EXTERNAL_ACCOUNT,
            "name": name,
            "exp": int(until),
            "nats": {
                "type": "user",
                "version": VERSION,
                # An empty list would allow everything.
                "pub": {"allow": rights.publish} if rights.publish else {"deny": [">"]},
                "sub": {"allow": rights.subscribe},
                "subs": -1,
                "data": -1,
                "payload": -1,
                "allowed_connection_types": ["STANDARD", "WEBSOCKET"],
            },
        }
        return self._response(request, {"jwt": self._signed(user, now).decode()}, now)

    def _response(self, request: CalloutRequest, verdict: dict[str, str], now: float) -> bytes:
        nats = {"type": "authorization_response", "version": VERSION, **verdict}
        return self._signed({"sub": request.user, "aud": request.server, "nats": nats}, now)

    def _signed(self, claims: dict[str, Any], now: float) -> bytes:
        issued = {**claims, "iss": self.issuer, "iat": int(now)}
        digest = hashlib.sha256(msgspec.json.encode(issued)).digest()
        body = msgspec.json.encode({**issued, "jti": base64.b32encode(digest).decode().rstrip("=")})
        signed = b".".join((_base64url(HEADER), _base64url(body)))
        return b".".join((signed, _base64url(self._keys.sign(signed))))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
