import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tidemill.security import webhook_signatures

# The vector in the tests of Replicate's and Svix's clients.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(signature: str, timestamp: int) -> dict[str, str]:
    return {"webhook-id": "msg_1", "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def test_replicates_vector() -> None:
    assert webhook_signatures.sign([VECTOR_SECRET], VECTOR_ID, 1614265330, VECTOR_BODY) == VECTOR_SIGNATURE


def test_a_new_secret_is_24_bytes_with_exactly_one_underscore() -> None:
    for _ in range(200):
        secret = webhook_signatures.new_secret()
        assert secret.count("_") == 1
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24


@given(st.text())
def test_the_public_library_verifies_what_we_sign(text: str) -> None:
    secret, now, body = webhook_signatures.new_secret(), int(time.time()), text.encode()
    signature = webhook_signatures.sign([secret], "msg_1", now, body)
    Webhook(secret).verify(body, headers(signature, now), json_parse=False)


def test_both_secrets_verify_during_a_rotation_and_a_third_does_not() -> None:
    old, new = webhook_signatures.new_secret(), webhook_signatures.new_secret()
    now = int(time.time())
    signature = webhook_signatures.sign([old, new], "msg_1", now, b"{}")
    assert signature.count(" ") == 1
    for secret in (old, new):
        assert Webhook(secret).verify(b"{}", headers(signature, now)) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_signatures.new_secret()).verify(b"{}", headers(signature, now))


@pytest.mark.parametrize(
    ("id_", "timestamp", "body"), [("msg_2", 1000, b"{}"), ("msg_1", 1001, b"{}"), ("msg_1", 1000, b"[]")]
)
def test_each_signed_part_counts(id_: str, timestamp: int, body: bytes) -> None:
    secret = webhook_signatures.new_secret()
    assert webhook_signatures.sign([secret], id_, timestamp, body) != webhook_signatures.sign(
        [secret], "msg_1", 1000, b"{}"
    )


def test_bytes_that_are_no_text_are_signed_as_they_are() -> None:
    assert webhook_signatures.sign([VECTOR_SECRET], "msg_1", 1, b"\xff\x00") != webhook_signatures.sign(
        [VECTOR_SECRET], "msg_1", 1, b"\xff"
    )


@pytest.mark.parametrize(
    ("secrets", "id_"),
    [([], "msg_1"), ([VECTOR_SECRET], "msg.1"), (["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "m"), (["whsec_?"], "m")],
)
def test_what_cannot_be_signed_safely_is_refused(secrets: list[str], id_: str) -> None:
    with pytest.raises(ValueError):
        webhook_signatures.sign(secrets, id_, 1, b"{}")
