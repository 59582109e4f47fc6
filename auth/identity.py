"""For upstreams: who stands behind a request, proved by the gateway's `Portreeve-Identity` header.

Invariant: `verify` returns an `Identity` only for an Ed25519 signature by a key of the given set, over
claims meant for this issuer, this audience, this environment and this moment. The algorithm is fixed
here; the assertion chooses none, and brings or points to no key.
Refuses: everything else, with `InvalidIdentity` and a reason that never repeats the assertion. A header
that carries more than `alg`, `typ` and `kid` is refused whole, and with it `jwk`, `jku`, `x5u` and `crit`.

Together with `identity_keys` and `identity_middleware` this needs PyJWT and cryptography and nothing else
of Portreeve, so that an upstream can take the three files as they are (PyJWT from 2.15 on).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ALGORITHM: Final = "EdDSA"
ASSERTION_TYPE: Final = "portreeve-identity+jwt"
LONGEST_LIFETIME_S: Final = 30

_LARGEST_ASSERTION: Final = 8_192
# The 86th character of a 64-byte signature carries two bits; any other last letter would be a second
# spelling of the same signature.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")
_HEADER_NAMES: Final = frozenset({"alg", "typ", "kid"})
_UNCHECKED: Final[Any] = {  # every claim is checked below, against the time given and not the ambient one
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}

Jwks = Mapping[str, Ed25519PublicKey]
Reason = Literal[
    "missing",
    "malformed",
    "too_large",
    "header_not_allowed",
    "wrong_algorithm",
    "wrong_type",
    "unknown_key",
    "bad_signature",
    "bad_claims",
    "wrong_issuer",
    "wrong_audience",
    "wrong_environment",
    "lifetime_too_long",
    "not_yet_valid",
    "expired",
    "wrong_request",
]


class InvalidIdentity(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class UnknownSigningKey(InvalidIdentity):
    """The `kid` is in no key at hand: fetching the keys again may help, nothing else will."""

    def __init__(self) -> None:
        super().__init__("unknown_key")


@dataclass(frozen=True, slots=True)
class BoundRequest:
    """One request as the upstream receives it: compare it with what an assertion was made for."""

    method: str
    target_sha256: str
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Identity:
    partner: str
    credential: str
    environment: str
    permission: str
    roles: tuple[str, ...]
    issued_at: int
    expires_at: int
    assertion_id: str
    request_id: str | None = None
    request: BoundRequest | None = None


def target_sha256(path: bytes, query: bytes) -> str:
    """An empty query adds no question mark: an ASGI application can't tell `/a?` from `/a`."""
    return hashlib.sha256(path + b"?" + query if query else path).hexdigest()


def verify(  # noqa: PLR0913  each is a thing the caller must have decided, and all but one by keyword
    assertion: str,
    *,
    jwks: Jwks,
    issuer: str,
    audience: str,
    environment: str,
    now_ms: int,
    leeway_ms: int = 1_000,
    binding: BoundRequest | None = None,
) -> Identity:
    claims = _verify_signature(assertion, jwks)
    _require_addressed(claims, issuer, audience, environment)
    _require_current(claims, now_ms, leeway_ms)
    identity = _parse_identity(claims)
    if binding is not None:
        require_bound(identity, binding)
    return identity


def require_bound(identity: Identity, request: BoundRequest) -> None:
    """Refuses an assertion made for another request, and one made for none in particular."""
    made_for = identity.request
    if made_for is None or made_for.method != request.method:
        raise InvalidIdentity("wrong_request")
    if not hmac.compare_digest(made_for.target_sha256, request.target_sha256):
        raise InvalidIdentity("wrong_request")
    if not hmac.compare_digest(made_for.body_sha256, request.body_sha256):
        raise InvalidIdentity("wrong_request")


def _verify_signature(assertion: str, jwks: Jwks) -> dict[str, Any]:
    public_key = _find_signing_key(_parse_header(assertion), jwks)
    try:
        claims: dict[str, Any] = jwt.decode(assertion, public_key, algorithms=[ALGORITHM], options=_UNCHECKED)
    except jwt.InvalidSignatureError:
        raise InvalidIdentity("bad_signature") from None
    except jwt.PyJWTError:
        raise InvalidIdentity("malformed") from None
    return claims


def _parse_header(assertion: str) -> dict[str, Any]:
    if len(assertion) > _LARGEST_ASSERTION:
        raise InvalidIdentity("too_large")
    if _COMPACT.fullmatch(assertion) is None:
        raise InvalidIdentity("malformed")
    try:
        header = jwt.get_unverified_header(assertion)
    except jwt.PyJWTError:
        raise InvalidIdentity("malformed") from None
    if header.get("alg") != ALGORITHM:
        raise InvalidIdentity("wrong_algorithm")
    if header.keys() - _HEADER_NAMES:
        raise InvalidIdentity("header_not_allowed")
    return header


def _find_signing_key(header: dict[str, Any], jwks: Jwks) -> Ed25519PublicKey:
    if header.get("typ") != ASSERTION_TYPE:
        raise InvalidIdentity("wrong_type")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise InvalidIdentity("malformed")
    public_key = jwks.get(kid)
    if public_key is None:
        raise UnknownSigningKey
    return public_key


def _require_addressed(claims: dict[str, Any], issuer: str, audience: str, environment: str) -> None:
    if claims.get("iss") != issuer:
        raise InvalidIdentity("wrong_issuer")
    # A list that merely contains us was also made for somebody else.
    if claims.get("aud") != audience:
        raise InvalidIdentity("wrong_audience")
    if claims.get("env") != environment:
        raise InvalidIdentity("wrong_environment")


def _require_current(claims: dict[str, Any], now_ms: int, leeway_ms: int) -> None:
    issued_at, expires_at = _get_seconds(claims, "iat"), _get_seconds(claims, "exp")
    if not 0 < expires_at - issued_at <= LONGEST_LIFETIME_S:
        raise InvalidIdentity("lifetime_too_long")
    if issued_at * 1_000 > now_ms + leeway_ms:
        raise InvalidIdentity("not_yet_valid")
    if now_ms >= expires_at * 1_000 + leeway_ms:
        raise InvalidIdentity("expired")


def _parse_identity(claims: dict[str, Any]) -> Identity:
    rid, req, roles = claims.get("rid"), claims.get("req"), claims.get("roles")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise InvalidIdentity("bad_claims")
    if (rid is None) != (req is None):
        raise InvalidIdentity("bad_claims")
    return Identity(
        partner=_get_text(claims, "sub"),
        credential=_get_text(claims, "cred"),
        environment=_get_text(claims, "env"),
        permission=_get_text(claims, "perm"),
        roles=tuple(roles),
        issued_at=_get_seconds(claims, "iat"),
        expires_at=_get_seconds(claims, "exp"),
        assertion_id=_get_text(claims, "jti"),
        request_id=None if rid is None else _get_text(claims, "rid"),
        request=None if req is None else _parse_bound_request(req),
    )


def _parse_bound_request(req: object) -> BoundRequest:
    if not isinstance(req, dict):
        raise InvalidIdentity("bad_claims")
    method, target, body = (_get_text(req, name) for name in ("m", "t", "b"))
    if not (target.isascii() and body.isascii()):  # compare_digest takes no other text
        raise InvalidIdentity("bad_claims")
    return BoundRequest(method, target, body)


def _get_text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidIdentity("bad_claims")
    return value


def _get_seconds(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:  # isinstance would let true and false through
        raise InvalidIdentity("bad_claims")
    return value
