"""Secrets at rest: sealed under a key derived from the signing key, each bound to the place it is kept in.

AES-256-GCM with a random nonce. Whoever can write to the database alone can neither read a secret nor move it to
another model or name. Must never log or show what it seals.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # NIST SP 800-38D; random ones are safe for 2^32 secrets under one key
TAG_BYTES: Final = 16
_VERSION: Final = b"\x01"
_PURPOSE: Final = b"tidemill: model secrets at rest"


class CannotDecrypt(Exception):  # noqa: N818 -- named after the situation
    """It was sealed under another key or for another place, or it is damaged."""


def encrypt(signing_key: bytes, context: str, text: str) -> bytes:
    """`place` names where it is kept (model and name): only there can it be opened."""
    nonce = os.urandom(NONCE_BYTES)
    return _VERSION + nonce + _cipher(signing_key).encrypt(nonce, text.encode(), context.encode())


def decrypt(signing_key: bytes, context: str, sealed: bytes) -> str:
    """Return the text that `encrypt` encrypted. Raise CannotDecrypt."""
    if len(sealed) < len(_VERSION) + NONCE_BYTES + TAG_BYTES or not sealed.startswith(_VERSION):
        raise CannotDecrypt
    nonce, text = sealed[len(_VERSION) :][:NONCE_BYTES], sealed[len(_VERSION) + NONCE_BYTES :]
    try:
        return _cipher(signing_key).decrypt(nonce, text, context.encode()).decode()
    except InvalidTag:
        raise CannotDecrypt from None


def associated_data(model_id: str, name: str) -> str:
    """Where the secret of a model is kept; ids hold no slash."""
    return f"model/{model_id}/{name}"


def _cipher(signing_key: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE).derive(signing_key))
