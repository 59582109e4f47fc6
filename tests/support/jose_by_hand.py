"""JSON Web Keys and signatures made by hand, from the RFCs alone: honest ones and broken ones.

Invariant: it shares no code with the product, and checks nothing: header, claims, key and signature are whatever the
test says, so that it can say one thing and sign another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

Claims = dict[str, Any]
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_json(value: object) -> str:
    return encode(json.dumps(value, separators=(",", ":")).encode())


def now() -> int:
    return int(time.time())


def fresh() -> str:
    return secrets.token_urlsafe(24)


def digest(text: str) -> str:
    """As `ath`, a thumbprint or an S256 challenge has it."""
    return encode(hashlib.sha256(text.encode()).digest())


def parts(compact: str) -> tuple[dict[str, Any], Claims]:
    """The header and the claims, unverified."""
    header, claims, _ = compact.split(".")
    return json.loads(decode(header)), json.loads(decode(claims))


class Key:
    """A private key that signs by one algorithm: ES256, PS256, RS256 or EdDSA."""

    def __init__(
        self,
        alg: str,
        private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
        kid: str | None = None,
    ) -> None:
        self.alg = alg
        self.private = private
        self.kid = kid

    @classmethod
    def generate(cls, alg: str = "ES256", kid: str | None = None) -> Self:
        if alg == "ES256":
            return cls(alg, ec.generate_private_key(ec.SECP256R1()), kid)
        if alg == "EdDSA":
            return cls(alg, ed25519.Ed25519PrivateKey.generate(), kid)
        return cls(alg, rsa.generate_private_key(public_exponent=65537, key_size=2048), kid)

    def public_jwk(self) -> dict[str, str]:
        private = self.private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = private.public_key().public_bytes_raw()
            return {"kty": "OKP", "crv": "Ed25519", "x": encode(raw)}
        if isinstance(private, ec.EllipticCurvePrivateKey):
            point = private.public_key().public_numbers()
            x, y = (encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        numbers = private.public_key().public_numbers()
        return {"kty": "RSA", "n": _unsigned(numbers.n), "e": _unsigned(numbers.e)}

    def registered_jwk(self) -> dict[str, str]:
        """With what a registration says of it."""
        named = {} if self.kid is None else {"kid": self.kid}
        return {**self.public_jwk(), "alg": self.alg, "use": "sig", **named}

    def private_jwk(self) -> dict[str, str]:
        private = self.private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return {**self.registered_jwk(), "d": encode(private.private_bytes_raw())}
        if isinstance(private, ec.EllipticCurvePrivateKey):
            number = private.private_numbers().private_value
            return {**self.registered_jwk(), "d": encode(number.to_bytes(32, "big"))}
        numbers = private.private_numbers()
        named = {"d": numbers.d, "p": numbers.p, "q": numbers.q}
        named |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
        return {**self.registered_jwk(), **{name: _unsigned(number) for name, number in named.items()}}

    def thumbprint(self) -> str:
        jwk = self.public_jwk()
        wanted = {name: jwk[name] for name in _REQUIRED[jwk["kty"]]}
        return digest(json.dumps(wanted, separators=(",", ":"), sort_keys=True))

    def raw_signature(self, message: bytes) -> bytes:
        private = self.private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(message)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            r, s = utils.decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        scheme = padding.PKCS1v15() if self.alg == "RS256" else salted
        return private.sign(message, scheme, hashes.SHA256())

    def sign(self, claims: Claims, **header: object) -> str:
        """Compact; a header member that is None is left out."""
        said = {"alg": self.alg, **({} if self.kid is None else {"kid": self.kid}), **header}
        said = {name: value for name, value in said.items() if value is not None}
        return self.sign_segments(encode_json(said), encode_json(claims))

    def sign_segments(self, header: str, claims: str) -> str:
        signed = f"{header}.{claims}"
        return f"{signed}.{encode(self.raw_signature(signed.encode()))}"


def with_hmac(header: dict[str, Any], claims: Claims, secret: bytes) -> str:
    signed = f"{encode_json(header)}.{encode_json(claims)}"
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def without(claims: Claims, *names: str) -> Claims:
    return {name: value for name, value in claims.items() if name not in names}


def assertion_claims(client_id: str, audience: object, **changes: object) -> Claims:
    """What a client says of itself by `private_key_jwt`; a change to None leaves the claim out."""
    at = now()
    said = {"iss": client_id, "sub": client_id, "aud": audience, "iat": at, "exp": at + 50, "jti": fresh()}
    return {name: value for name, value in (said | changes).items() if value is not None}


def proof_claims(
    method: str, url: str, *, access_token: str | None = None, nonce: str | None = None, **changes: object
) -> Claims:
    said: Claims = {"htm": method, "htu": url, "iat": now(), "jti": fresh()}
    said |= {} if access_token is None else {"ath": digest(access_token)}
    said |= {} if nonce is None else {"nonce": nonce}
    return {name: value for name, value in (said | changes).items() if value is not None}


def proof(key: Key, claims: Claims, **header: object) -> str:
    """A DPoP proof, its key in its header."""
    return key.sign(claims, **{"typ": "dpop+jwt", "jwk": key.public_jwk(), "kid": None} | header)


def _unsigned(number: int) -> str:
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
