"""The requests made ahead are what they say: good, changed in one byte, or too old."""

from __future__ import annotations

import hashlib
import hmac

import jwt
import pytest

from bench.contenders.requests import Bearer, Signed

_SECRET = b"s" * 32
_ISSUER = "https://bench.example"
_TARGET = "/paper/v1/orders?symbol=BTC-EUR"


def _sign(text: bytes) -> str:
    return hmac.new(_SECRET, text, "sha256").hexdigest()


def _headers(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


def _verifies(request: bytes, method: str = "GET", body: bytes = b"") -> bool:
    sent = _headers(request)
    signed = "\n".join(
        [
            "PORTREEVE1",
            sent["portreeve-timestamp"],
            sent["portreeve-nonce"],
            sent["portreeve-key"],
            method,
            *_TARGET.split("?"),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    return _sign(signed.encode()) == sent["portreeve-signature"]


def _claims(request: bytes) -> dict[str, object]:
    bearer = _headers(request)["authorization"].removeprefix("Bearer ")
    claims: dict[str, object] = jwt.decode(bearer, _SECRET, ["HS256"], issuer=_ISSUER)
    return claims


def test_each_signed_request_has_a_nonce_of_its_own_and_verifies() -> None:
    """Signed over the very bytes that are sent."""
    made = Signed("key", _sign).make(20, _TARGET)
    assert len({_headers(request)["portreeve-nonce"] for request in made}) == 20
    assert all(_verifies(request) for request in made)


def test_a_body_is_sent_and_signed() -> None:
    """As a POST with its length."""
    request = Signed("key", _sign).make(1, _TARGET, b"body")[0]
    assert request.startswith(b"POST /paper/v1/orders?symbol=BTC-EUR HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\nbody")
    assert _headers(request)["content-length"] == "4"
    assert _verifies(request, "POST", b"body")


def test_a_tampered_request_no_longer_verifies() -> None:
    """A byte of what was signed is another."""
    assert not any(_verifies(request) for request in Signed("key", _sign).make(20, _TARGET, tamper=True))


def test_an_expired_request_is_rightly_signed() -> None:
    """So that its age alone can be why it is refused."""
    fresh, old = (Signed("key", _sign).make(1, _TARGET, age_s=age)[0] for age in (0, 600))
    assert _verifies(old)
    older_ms = int(_headers(fresh)["portreeve-timestamp"]) - int(_headers(old)["portreeve-timestamp"])
    assert 590_000 < older_ms < 610_000


def test_each_jwt_is_its_own() -> None:
    """No cache of verified ones can help."""
    made = Bearer(_SECRET, _ISSUER, {"sub": "acme", "role": "reader"}).make(20, _TARGET)
    assert len({_claims(request)["jti"] for request in made}) == 20


def test_a_tampered_jwt_fails_by_its_signature_alone() -> None:
    """It is still JSON, with another subject."""
    request = Bearer(_SECRET, _ISSUER, {"sub": "acme"}).make(1, _TARGET, tamper=True)[0]
    with pytest.raises(jwt.InvalidSignatureError):
        _claims(request)
    unverified = jwt.decode(_headers(request)["authorization"][7:], options={"verify_signature": False})
    assert unverified["sub"] == "acmf"


def test_an_old_jwt_has_expired() -> None:
    """And is rightly signed."""
    request = Bearer(_SECRET, _ISSUER, {"sub": "acme"}).make(1, _TARGET, age_s=600)[0]
    with pytest.raises(jwt.ExpiredSignatureError):
        _claims(request)
