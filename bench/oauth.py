"""An OAuth client for measurements: what it asks for tokens, and what it sends with one, all of it signed ahead.

Invariant: every assertion and every proof is used once, and made right before its load: neither is good for longer
than a minute.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import socket
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from bench.configuration import ISSUER
from bench.contenders.requests import assembled
from bench.deployment import TARGET, Deployment

Kind = Literal["dpop", "bearer"]

_ENDPOINT = "/oauth/token"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TERMS = {
    "dpop": ("--binding", "dpop"),
    "bearer": ("--binding", "none", "--exception", "bearer-tokens"),
}
_KNOWN_WITHIN_S = 10
_TIMEOUT_S = 30
_OK = 200


class OAuthClient:
    """`private_key_jwt` with ES256; its tokens bound by DPoP, with ES256 as well, or bearer tokens."""

    def __init__(self, deployment: Deployment, kind: Kind) -> None:
        self._port = deployment.port
        self._is_bound = kind == "dpop"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._jwk = _public_jwk(self._key)
        self._nonce: str | None = None
        self.id = deployment.create_client({**self._jwk, "kid": "bench"}, *_TERMS[kind])
        self._await_served()

    def token_requests(self, count: int) -> list[bytes]:
        return [self._token_request() for _ in range(count)]

    def token(self) -> str:
        status, headers, body = _ask(self._port, self._token_request())
        if status != _OK:
            raise RuntimeError(f"a token request is answered {status}: {body!r}")
        self._nonce = headers.get("dpop-nonce", self._nonce)
        token: str = json.loads(body)["access_token"]
        return token

    def make(
        self, count: int, target: str = TARGET, body: bytes = b"", *, age_s: int = 0, tamper: bool = False
    ) -> list[bytes]:
        """Requests with one token, as any client sends them; those with a proof have each their own."""
        return list(self._requests(self.token(), count, target, body, age_s=age_s, tamper=tamper))

    def _requests(  # noqa: PLR0913  what a request differs in
        self, token: str, count: int, target: str, body: bytes, *, age_s: int, tamper: bool
    ) -> Iterator[bytes]:
        sent = _forged(token) if tamper else token
        method = "POST" if body else "GET"
        uri, scheme = f"{ISSUER}{target.partition('?')[0]}", "DPoP" if self._is_bound else "Bearer"
        for _ in range(count):
            credentials = f"authorization: {scheme} {sent}\r\n"
            if self._is_bound:
                proof = self._prove(method, uri, token=token, age_s=age_s)
                credentials += f"dpop: {proof}\r\n"
            yield assembled(method, target, credentials, body)

    def _token_request(self) -> bytes:
        now = int(time.time())
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": ISSUER,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(16),
        }
        form = {
            "grant_type": "client_credentials",
            "scope": "orders:read",
            "client_assertion_type": _ASSERTION,
            "client_assertion": jwt.encode(claims, self._key, "ES256", headers={"kid": "bench"}),
        }
        extra = "content-type: application/x-www-form-urlencoded\r\n"
        if self._is_bound:
            extra += f"dpop: {self._prove('POST', ISSUER + _ENDPOINT)}\r\n"
        return assembled("POST", _ENDPOINT, extra, urllib.parse.urlencode(form).encode())

    def _prove(self, method: str, uri: str, *, token: str | None = None, age_s: int = 0) -> str:
        claims: dict[str, Any] = {
            "htm": method,
            "htu": uri,
            "iat": int(time.time()) - age_s,
            "jti": secrets.token_urlsafe(16),
        }
        claims |= {} if self._nonce is None else {"nonce": self._nonce}
        if token is not None:
            claims["ath"] = _encoded(hashlib.sha256(token.encode()).digest())
        return jwt.encode(claims, self._key, "ES256", headers={"typ": "dpop+jwt", "jwk": self._jwk})

    def _await_served(self) -> None:
        """A node learns of a client a moment after it was made, and a client of its nonce by asking without one."""
        deadline, status, body = time.monotonic() + _KNOWN_WITHIN_S, 0, b""
        while time.monotonic() < deadline:
            status, headers, body = _ask(self._port, self._token_request())
            self._nonce = headers.get("dpop-nonce", self._nonce)
            if status == _OK:
                return
            time.sleep(0.05)
        raise TimeoutError(f"a good token request is still answered {status}: {body!r}")


def _public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: jwk[name] for name in ("kty", "crv", "x", "y")}


def _forged(token: str) -> str:
    """Another client's, so that only the signature can give it away."""
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["jti"] = secrets.token_urlsafe(16)
    return ".".join([head, _encoded(json.dumps(claims).encode()), signature])


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
