"""Fourth stage: who is asking. Reads the body, because its hash is part of what was signed.

Order: what costs nothing first (grammar, freshness, declared size), then the body, then the signature. What a
key's state is, only its owner learns: it is asked after the signature has verified.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec

from auth import credential, freshness
from auth.canonical import string_to_sign
from auth.signature import SignatureAuthenticator, VerifiedKey
from gateway import bodies
from gateway.stages.match_route import Routed

EMPTY_SHA256 = sha256(b"").hexdigest().encode()


class Authenticated(msgspec.Struct, frozen=True, gc=False):
    """A verified key, the nonce it signed, and the body it signed; or, on a public route, nobody."""

    routed: Routed
    caller: VerifiedKey | None
    nonce: bytes | None
    body: bytes
    # As it was signed: in hexadecimal digits.
    body_sha256: bytes


class Authenticate:
    """`with_body` where a body has to be read first, `without_body` where the head is all there is to a request."""

    def __init__(
        self,
        signatures: SignatureAuthenticator,
        rules: freshness.FreshnessRules,
        clock: Callable[[], int],
    ) -> None:
        self._signatures = signatures
        self._rules = rules
        self._clock = clock

    async def with_body(self, routed: Routed, hold: bodies.Hold) -> Authenticated:
        headers, route = routed.admitted.headers, routed.route
        bodies.refuse_declared(headers.content_length, route.max_body_bytes)
        if route.public:
            return _nobody(routed)
        claim = self._claim(routed)
        body = await bodies.read_whole(routed.admitted.arrival.receive, route.max_body_bytes, hold)
        # Asked now, not when the head came: a key may have expired while its body took its time.
        return self._verify(routed, claim, self._clock(), body, sha256(body).hexdigest().encode())

    def without_body(self, routed: Routed) -> Authenticated:
        if routed.route.public:
            return _nobody(routed)
        # Nothing was waited for since the head came, so it is still the time at which it did.
        return self._verify(routed, self._claim(routed), routed.admitted.arrival.at_ms, b"", EMPTY_SHA256)

    def _claim(self, routed: Routed) -> credential.SignedCredential:
        rules, admitted = self._rules, routed.admitted
        arrival = admitted.arrival
        claim = credential.parse(admitted.headers.claimed, rules.max_window_ms)
        arrival.trace.credential = claim.key_id
        freshness.check(claim.at_ms, claim.window_ms, arrival.at_ms, rules)
        return claim

    def _verify(
        self, routed: Routed, claim: credential.SignedCredential, now_ms: int, body: bytes, digest: bytes
    ) -> Authenticated:
        admitted = routed.admitted
        arrival, target = admitted.arrival, admitted.target
        signed = string_to_sign(
            claim.timestamp,
            claim.nonce,
            claim.signed_key_id,
            arrival.method.encode("ascii"),
            target.path_bytes,
            target.query,
            digest,
        )
        caller = self._signatures.verify(claim, signed, now_ms)
        arrival.trace.partner = caller.key.partner
        return Authenticated(routed, caller, claim.nonce, body, digest)


def _nobody(routed: Routed) -> Authenticated:
    return Authenticated(routed, None, None, b"", EMPTY_SHA256)
