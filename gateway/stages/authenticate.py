"""Fourth stage: who is asking. Reads the body, because its hash is part of what was signed.

Order: what costs nothing first (grammar, freshness, declared size), then the body, then the signature. What a
key's state is, only its owner learns: it is asked after the signature has verified.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec

from auth import canonical, credential, freshness
from auth.signature import SignatureAuthenticator, VerifiedKey
from gateway import bodies
from gateway.arrival import Receive
from gateway.stages.match_route import Routed

EMPTY_SHA256 = sha256(b"").hexdigest()


class Authenticated(msgspec.Struct, frozen=True, gc=False):
    """A verified key, the nonce it signed, and the body it signed; or, on a public route, nobody."""

    routed: Routed
    caller: VerifiedKey | None
    nonce: str | None
    body: bytes
    body_sha256: str


class Authenticate:
    def __init__(
        self,
        signatures: SignatureAuthenticator,
        rules: freshness.FreshnessRules,
        clock: Callable[[], int],
    ) -> None:
        self._signatures = signatures
        self._rules = rules
        self._clock = clock

    async def __call__(self, routed: Routed, hold: bodies.Hold | None) -> Authenticated:
        headers = routed.admitted.headers
        bodies.refuse_declared(headers.content_length, routed.route.max_body_bytes)
        if routed.route.public:
            return Authenticated(routed, None, None, b"", EMPTY_SHA256)
        rules, arrival = self._rules, routed.admitted.arrival
        claim = credential.parse(
            headers.key,
            headers.timestamp,
            headers.nonce,
            headers.signature,
            max_window_ms=rules.max_window_ms,
        )
        arrival.trace.credential = claim.key_id
        freshness.check(claim.at_ms, claim.window_ms, arrival.at_ms, rules)
        has_body = headers.chunked or headers.content_length
        return self._verify(routed, claim, await _read_body(routed, hold) if has_body else b"")

    def _verify(self, routed: Routed, claim: credential.SignedCredential, body: bytes) -> Authenticated:
        arrival, target = routed.admitted.arrival, routed.admitted.target
        digest = sha256(body).hexdigest() if body else EMPTY_SHA256
        signed = canonical.string_to_sign(
            claim.timestamp,
            claim.nonce,
            claim.key_id,
            arrival.method,
            target.path_bytes,
            target.query,
            digest,
        )
        # Asked now, not when the head came: a key may have expired while its body took its time.
        caller = self._signatures.verify(claim, signed, self._clock())
        arrival.trace.partner = caller.key.partner
        return Authenticated(routed, caller, claim.nonce, body, digest)


async def _read_body(routed: Routed, hold: bodies.Hold | None) -> bytes:
    if hold is None:
        raise TypeError("a body is read under a hold")
    receive: Receive = routed.admitted.arrival.receive
    return await bodies.read_whole(receive, routed.route.max_body_bytes, hold)
