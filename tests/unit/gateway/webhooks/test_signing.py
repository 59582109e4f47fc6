"""Signatures, checked by a library that is not ours."""

import base64
import time

import pytest
import standardwebhooks

from gateway.webhooks import signing
from keys.secret import SecretBytes

BODY = '{"type":"key.revoked","data":{"note":"ü"}}'.encode()
OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def read(secret: bytes, headers: signing.Headers, body: bytes = BODY) -> object:
    shown = "whsec_" + base64.b64encode(secret).decode()
    return standardwebhooks.Webhook(shown).verify(body, dict(headers))


def sign(*secrets: bytes, message_id: str = "msg_1", age_s: int = 0) -> signing.Headers:
    now_ms = time.time_ns() // 1_000_000 - 1000 * age_s
    return signing.sign([SecretBytes(secret) for secret in secrets], message_id, now_ms, BODY)


def test_a_signature_is_the_one_of_the_specification() -> None:
    """The vector of Standard Webhooks' own documentation."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signing.sign(
        [SecretBytes(secret)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_999, b'{"test": 2432232314}'
    )
    assert dict(headers) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_library_accepts_what_we_sign() -> None:
    """Body, time and id as they were sent."""
    assert read(NEW, sign(NEW)) == {"type": "key.revoked", "data": {"note": "ü"}}


def test_in_a_rotation_both_secrets_verify() -> None:
    """Whichever a partner has at that moment."""
    headers = sign(NEW, OLD)
    assert read(NEW, headers) == read(OLD, headers)


def test_another_secret_body_id_or_an_old_time_is_refused() -> None:
    """Nothing of a message can be changed, and none kept for later."""
    headers = sign(NEW)
    renamed = (("webhook-id", "msg_2"), *headers[1:])
    refused = (
        (OLD, headers, BODY),
        (NEW, headers, BODY + b" "),
        (NEW, renamed, BODY),
        (NEW, sign(NEW, age_s=400), BODY),
    )
    for secret, shown, body in refused:
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            read(secret, shown, body)
