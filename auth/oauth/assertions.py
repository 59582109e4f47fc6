"""Assertions by which clients prove who they are (`private_key_jwt`, RFC 7523 as FAPI 2.0 narrows it). Pure.

Invariant: an assertion that passes was signed by a key registered for its client, under the algorithm of that key; it
was made by this client, about itself, for this issuer alone, and is good for no longer than a minute from now. That it
is used only once is the store's part: `check` gives what to take there.
Refuses: an audience that is a list, a lifetime that is not near, a time of issue that lies ahead of every honest clock,
and a type that belongs to another kind of statement.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from auth import jose
from auth.oauth import errors
from auth.oauth.decoys import Decoys

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# How far a client's clock may be ahead of ours, and how long an assertion may live by it.
AHEAD_MS: Final = 10_000
LONGEST_MS: Final = 60_000

_ALGORITHMS: Final[dict[str, jose.Alg]] = {
    "ES256": "ES256",
    "PS256": "PS256",
    "EdDSA": "EdDSA",
    "Ed25519": "EdDSA",
}
_TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})
_LONGEST_JTI: Final = 256
# No time of anybody's: a number beyond it would not even fit when it is made milliseconds.
_LATEST_S: Final = 2**53
# Two keys are live while a client rotates. A refusal takes as many verifications whoever is refused.
TRIES: Final = 2


class Assertion(msgspec.Struct, frozen=True):
    """Read, and not yet believed. `client_id` is whom it says it is from."""

    client_id: str
    algorithm: jose.Alg
    jws: jose.Jws


def parse(compact: str) -> Assertion:
    try:
        jws = jose.parse(compact)
    except jose.MalformedJws:
        raise errors.invalid_client("malformed_assertion") from None
    algorithm, client_id = _ALGORITHMS.get(jws.header["alg"]), jws.claims.get("iss")
    if algorithm is None:
        raise errors.invalid_client("assertion_algorithm")
    if jws.header.get("typ", "JWT").lower().removeprefix("application/") not in _TYPES:
        raise errors.invalid_client("assertion_of_another_type")
    if not isinstance(client_id, str) or jws.claims.get("sub") != client_id:
        raise errors.invalid_client("assertion_names_no_client")
    return Assertion(client_id, algorithm, jws)


def verify(assertion: Assertion, keys: Iterable[jose.VerificationKey], decoys: Decoys) -> None:
    """`keys`: the client's, and none where there is no such client. It takes the same work either way."""
    fitting = [key for key in keys if _fits(assertion, key)]
    fitting.sort(key=lambda key: assertion.jws.kid not in {key.kid, key.thumbprint})
    tried = fitting[:TRIES]
    for key in tried:
        if _verifies(assertion, key):
            return
    decoy = decoys.find(assertion.algorithm, len(assertion.jws.signature))
    for _ in range(TRIES - len(tried)):
        # Nobody has the other half of it, so it verifies nothing.
        if decoy is not None:
            _verifies(assertion, decoy)
    raise errors.invalid_client("bad_assertion")


class Once(msgspec.Struct, frozen=True):
    """What to take, so that it is used once. `made_ms`: when it says that it was made, if it does."""

    digest: bytes
    made_ms: int | None


def check(assertion: Assertion, issuer: str, now_ms: int) -> Once:
    """Its claims, once its signature holds."""
    claims = assertion.jws.claims
    if claims.get("aud") != issuer:
        raise _refuse("The assertion's aud is not the issuer, as one string.", "assertion_audience")
    expires_ms = _get_time_ms(claims, "exp")
    if expires_ms is None:
        raise _refuse("The assertion has no exp, as a number of seconds.", "assertion_without_expiry")
    if expires_ms <= now_ms:
        raise _refuse("The assertion has expired.", "assertion_expired")
    if expires_ms > now_ms + LONGEST_MS + AHEAD_MS:
        raise _refuse("The assertion's exp is more than a minute away.", "assertion_too_long")
    for name in ("iat", "nbf"):
        since_ms = _get_time_ms(claims, name)
        if name in claims and (since_ms is None or since_ms > now_ms + AHEAD_MS):
            raise _refuse("The assertion is from the future: look at the clock.", "assertion_from_the_future")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_JTI:
        raise _refuse("The assertion has no jti of 1 to 256 characters.", "assertion_without_id")
    digest = hashlib.sha256(b"client assertion\0" + jti.encode()).digest()
    return Once(digest, _get_time_ms(claims, "iat"))


def _fits(assertion: Assertion, key: jose.VerificationKey) -> bool:
    """A key that the signature cannot be of is refused without any work: it must not stand for a verification."""
    if key.algorithm != assertion.algorithm:
        return False
    size = getattr(key.public_key, "key_size", 0)
    return key.algorithm != "PS256" or len(assertion.jws.signature) * 8 == size


def _verifies(assertion: Assertion, key: jose.VerificationKey) -> bool:
    try:
        jose.verify(assertion.jws, key)
    except jose.BadJwsSignature:
        return False
    return True


def _get_time_ms(claims: dict[str, Any], name: str) -> int | None:
    value: Any = claims.get(name)
    # A boolean is an int to Python, and no time.
    if type(value) not in {int, float} or not -_LATEST_S <= value <= _LATEST_S:
        return None
    return int(value * 1000)


def _refuse(description: str, reason: str) -> errors.OAuthError:
    return errors.unusable_client(description, reason)
