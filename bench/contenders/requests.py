"""Requests made ahead, ready to send, so that signing them is not what is measured.

Two kinds: signed after PORTREEVE1, each with a nonce of its own, and carrying a JWT, each with a `jti` of its own.
Either makes good ones, ones with a byte changed after signing, and ones that have expired.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Protocol

import jwt

from bench.deployment import TARGET


class Maker(Protocol):
    def make(
        self, count: int, target: str = TARGET, body: bytes = b"", *, age_s: int = 0, tamper: bool = False
    ) -> list[bytes]: ...


class Signed:
    """The request a partner of the gateway sends; nginx with Lua checks the very same."""

    def __init__(self, key_id: str, sign: Callable[[bytes], str]) -> None:
        self._key_id = key_id
        self._sign = sign

    def make(
        self, count: int, target: str = TARGET, body: bytes = b"", *, age_s: int = 0, tamper: bool = False
    ) -> list[bytes]:
        digest = hashlib.sha256(body).hexdigest()
        return [self._request(target, body, digest, age_s, tamper=tamper) for _ in range(count)]

    def _request(self, target: str, body: bytes, digest: str, age_s: int, *, tamper: bool) -> bytes:
        path, _, query = target.partition("?")
        at, nonce = str(time.time_ns() // 1_000_000 - age_s * 1000), secrets.token_urlsafe(16)
        method = "POST" if body else "GET"
        signed = f"PORTREEVE1\n{at}\n{nonce}\n{self._key_id}\n{method}\n{path}\n{query}\n{digest}"
        credentials = (
            f"portreeve-key: {self._key_id}\r\nportreeve-timestamp: {at}\r\n"
            f"portreeve-nonce: {changed(nonce) if tamper else nonce}\r\n"
            f"portreeve-signature: {self._sign(signed.encode())}\r\n"
        )
        return assembled(method, target, credentials, body)


class Bearer:
    """A JWT in `Authorization`, signed with HS256."""

    def __init__(self, secret: bytes, issuer: str, claims: dict[str, object]) -> None:
        self._secret = secret
        self._claims = {"iss": issuer, **claims}

    def make(
        self, count: int, target: str = TARGET, body: bytes = b"", *, age_s: int = 0, tamper: bool = False
    ) -> list[bytes]:
        method, credentials = (
            "POST" if body else "GET",
            (self._jwt(age_s, tamper=tamper) for _ in range(count)),
        )
        return [assembled(method, target, f"authorization: Bearer {each}\r\n", body) for each in credentials]

    def _jwt(self, age_s: int, *, tamper: bool) -> str:
        now = int(time.time()) - age_s
        claims = {**self._claims, "iat": now, "exp": now + 300, "jti": secrets.token_urlsafe(16)}
        encoded: str = jwt.encode(claims, self._secret, "HS256", headers={"kid": "bench"})
        return _with_changed_claim(encoded) if tamper else encoded


def _with_changed_claim(encoded: str) -> str:
    """Still JSON, so that only the signature can give it away."""
    head, payload, signature = encoded.split(".")
    claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    forged = claims.replace(b'"sub":"acme"', b'"sub":"acmf"')
    return ".".join([head, base64.urlsafe_b64encode(forged).rstrip(b"=").decode(), signature])


def changed(nonce: str) -> str:
    return ("B" if nonce[0] == "A" else "A") + nonce[1:]


def assembled(method: str, target: str, credentials: str, body: bytes) -> bytes:
    length = f"content-length: {len(body)}\r\n" if body else ""
    head = f"{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n{length}{credentials}\r\n"
    return head.encode() + body
