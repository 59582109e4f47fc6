"""What an access token says, read strictly, and every reason for which one is refused. Pure.

Invariant: claims are what a signature that verified stands under; nothing is read before. Times are whole seconds, and
one that lies ahead or lasts too long is refused. A token is bound to a DPoP key, or to a certificate, or to neither,
and never to both. Refusals never repeat what came.
"""

from typing import Any, Final, Literal

import msgspec

from auth.presented import Scheme
from keys.environment import Environment

AHEAD_MS: Final = 10_000
_LONGEST_TEXT: Final = 512
_MOST_LISTED: Final = 64

Reason = Literal[
    "malformed",
    "wrong_type",
    "unknown_key",
    "bad_signature",
    "bad_claims",
    "wrong_issuer",
    "wrong_audience",
    "wrong_environment",
    "not_yet_valid",
    "expired",
    "lifetime_too_long",
    "revoked",
    "unknown_client",
    "client_refused",
    "partner_refused",
    "no_role",
    "not_bound",
    "bound_to_key",
    "no_proof",
    "wrong_certificate",
    "proof_malformed",
    "proof_wrong_type",
    "proof_bad_key",
    "proof_bad_signature",
    "proof_bad_claims",
    "proof_wrong_method",
    "proof_wrong_uri",
    "proof_wrong_token",
    "proof_wrong_key",
    "proof_stale",
]


class InvalidToken(Exception):
    """`reason` is told to whoever sent it, and to the log."""

    def __init__(self, reason: Reason, scheme: Scheme = "DPoP") -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.scheme: Scheme = scheme


class NonceWanted(Exception):
    """The proof is good but for its nonce. `nonce`: the one to use."""

    def __init__(self, nonce: str) -> None:
        super().__init__("use_dpop_nonce")
        self.nonce = nonce


class Claims(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What of a token never changes. `scope`: None where the issuer narrows nothing. `roles`: of whom it speaks for.

    `grant`: what a person allowed it by; `partner`: theirs, where it is not the client's own.
    """

    issuer: str
    kid: str | None
    subject: str
    client_id: str
    jti: str
    issued_ms: int
    expires_ms: int
    environment: Environment
    scope: frozenset[str] | None
    jkt: str | None
    x5t: str | None
    grant: str | None = None
    partner: str | None = None
    roles: tuple[str, ...] | None = None


def require_current(claims: Claims, now_ms: int) -> None:
    if now_ms >= claims.expires_ms:
        raise InvalidToken("expired")
    if claims.issued_ms > now_ms + AHEAD_MS:
        raise InvalidToken("not_yet_valid")


def read_times(claims: dict[str, Any], longest_ms: int) -> tuple[int, int]:
    """From when and until when, in milliseconds. A token that is not good yet (`nbf`) begins then."""
    issued, expires = _seconds(claims, "iat"), _seconds(claims, "exp")
    if "nbf" in claims:
        issued = max(issued, _seconds(claims, "nbf"))
    if not 0 < expires - issued <= longest_ms // 1000:
        raise InvalidToken("lifetime_too_long")
    return issued * 1000, expires * 1000


def read_binding(claims: dict[str, Any]) -> tuple[str | None, str | None]:
    """Thumbprints of a key and of a certificate. What it is bound to and we do not understand, we cannot check."""
    if "cnf" not in claims:
        return None, None
    bound = claims["cnf"]
    if not isinstance(bound, dict) or len(bound) != 1:
        raise InvalidToken("bad_claims")
    jkt, x5t = find_text(bound, "jkt"), find_text(bound, "x5t#S256")
    if jkt is None and x5t is None:
        raise InvalidToken("bad_claims")
    return jkt, x5t


def get_text(claims: dict[str, Any], name: str) -> str:
    found = find_text(claims, name)
    if found is None:
        raise InvalidToken("bad_claims")
    return found


def find_text(claims: dict[str, Any], name: str) -> str | None:
    """None where it is absent. Text that a log line or a header could not hold is no name of anybody."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT or not value.isprintable():
        raise InvalidToken("bad_claims")
    return value


def read_scope(claims: dict[str, Any]) -> frozenset[str]:
    """Absent, it is empty: then it is good for nothing that asks for a permission."""
    value = claims.get("scope", "")
    if not isinstance(value, str):
        raise InvalidToken("bad_claims")
    return frozenset(value.split())


def read_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_LISTED:
        raise InvalidToken("bad_claims")
    if not all(isinstance(each, str) for each in value):
        raise InvalidToken("bad_claims")
    return tuple(value)


def _seconds(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**40:  # isinstance would let true and false through
        raise InvalidToken("bad_claims")
    return value
