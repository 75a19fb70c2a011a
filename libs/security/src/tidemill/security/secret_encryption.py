"""Encryption of secrets at rest, with a key derived from the signing key; each is bound to its model and name.

AES-256-GCM with a random nonce. An attacker who can only write to the database can neither read a secret nor move it to
another model or name. Must never log or show a secret.
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
    """It was encrypted with another key or for another context, or it is corrupt."""


def encrypt(signing_key: bytes, context: str, text: str) -> bytes:
    """Encrypt `text`. `context` is authenticated (model and name): decrypting needs the same one."""
    nonce = os.urandom(NONCE_BYTES)
    return _VERSION + nonce + _cipher(signing_key).encrypt(nonce, text.encode(), context.encode())


def decrypt(signing_key: bytes, context: str, encrypted: bytes) -> str:
    """Return the text that `encrypt` encrypted. Raise CannotDecrypt."""
    if len(encrypted) < len(_VERSION) + NONCE_BYTES + TAG_BYTES or not encrypted.startswith(_VERSION):
        raise CannotDecrypt
    nonce, text = encrypted[len(_VERSION) :][:NONCE_BYTES], encrypted[len(_VERSION) + NONCE_BYTES :]
    try:
        return _cipher(signing_key).decrypt(nonce, text, context.encode()).decode()
    except InvalidTag:
        raise CannotDecrypt from None


def associated_data(model_id: str, name: str) -> str:
    """Return the context of a model's secret; ids contain no slash."""
    return f"model/{model_id}/{name}"


def _cipher(signing_key: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE).derive(signing_key))
