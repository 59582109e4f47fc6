"""Fourth stage: who is asking: by a signature, or by an access token. Reads the body, whose hash is part of what is
signed.

Order: what costs nothing first (grammar, freshness, declared size), then the body, then the signature. What a
key's state is, only its owner learns: it is asked after the signature has verified. A token says nothing about a body,
so it is verified before one is read, and looked at once more behind it. A request has one way to say who is asking: one
that is signed and carries a token as well is refused. The control surface takes signatures only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256

import msgspec

from auth import bearer, credential, freshness
from auth.bearer import TokenAuthenticator, VerifiedToken
from auth.canonical import string_to_sign
from auth.presented import Presented
from auth.signature import SignatureAuthenticator, VerifiedKey
from gateway import bodies
from gateway.client_certificates import client_certificate_of
from gateway.problems import Refusal
from gateway.stages.admit import Admitted
from gateway.stages.match_route import Routed

EMPTY_SHA256 = sha256(b"").hexdigest().encode()


class Authenticated(msgspec.Struct, frozen=True, gc=False):
    """A verified key, the nonce it signed, and the body it signed; or a verified token, with what stands for its proof
    in place of a nonce; or, on a public route, nobody.
    """

    routed: Routed
    caller: VerifiedKey | VerifiedToken | None
    nonce: bytes | None
    body: bytes
    # In hexadecimal digits, as it is signed.
    body_sha256: bytes


class Authenticate:
    """`with_body` where a body has to be read first, `without_body` where the head is all there is to a request."""

    def __init__(
        self,
        signatures: SignatureAuthenticator,
        tokens: TokenAuthenticator,
        rules: freshness.FreshnessRules,
        clock: Callable[[], int],
    ) -> None:
        self._signatures = signatures
        self._tokens = tokens
        self._rules = rules
        self._clock = clock

    async def with_body(self, routed: Routed, hold: bodies.Hold) -> Authenticated:
        headers, route = routed.admitted.headers, routed.route
        bodies.refuse_declared(headers.content_length, route.max_body_bytes)
        if route.public:
            return _nobody(routed)
        try:
            claim = self._claim(routed)
        except credential.MissingCredentials:
            return await self._with_token(routed, self._verify_token(routed), hold)
        body = await bodies.read_whole(routed.admitted.arrival.receive, route.max_body_bytes, hold)
        # Asked now, not when the head came: a key may have expired while its body took its time.
        return self._verify(routed, claim, self._clock(), body, sha256(body).hexdigest().encode())

    def without_body(self, routed: Routed) -> Authenticated:
        if routed.route.public:
            return _nobody(routed)
        try:
            claim = self._claim(routed)
        except credential.MissingCredentials:
            caller = self._verify_token(routed)
            return Authenticated(routed, caller, caller.nonce, b"", EMPTY_SHA256)
        # Nothing was waited for since the head came, so it is still the time at which it did.
        return self._verify(routed, claim, routed.admitted.arrival.at_ms, b"", EMPTY_SHA256)

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
        arrival.trace.partner = caller.key.entitlement.partner
        return Authenticated(routed, caller, claim.nonce, body, digest)

    def _verify_token(self, routed: Routed) -> VerifiedToken:
        """Raises what it is called for, where there is no token either."""
        admitted = routed.admitted
        presented, arrival = admitted.headers.presented, admitted.arrival
        if presented is None:
            raise credential.MissingCredentials
        _require_one_way(routed, presented)
        facts = bearer.Facts(
            arrival.method,
            admitted.target.path,
            arrival.at_ms,
            partial(_find_certificate, admitted),
            routed.route.host,
        )
        caller = self._tokens.verify(presented, facts)
        arrival.trace.credential, arrival.trace.partner = caller.key.id, caller.key.partner
        return caller

    async def _with_token(self, routed: Routed, caller: VerifiedToken, hold: bodies.Hold) -> Authenticated:
        body = await bodies.read_whole(routed.admitted.arrival.receive, routed.route.max_body_bytes, hold)
        # Asked again: it may have been revoked while the body took its time.
        caller = self._tokens.verify_again(caller, self._clock())
        return Authenticated(routed, caller, caller.nonce, body, sha256(body).hexdigest().encode())


def _find_certificate(admitted: Admitted) -> str | None:
    certificate = client_certificate_of(admitted)
    return None if certificate is None else certificate.thumbprint


def _require_one_way(routed: Routed, presented: Presented) -> None:
    if routed.route.is_control:
        raise Refusal("missing_credentials", "The control surface takes signed requests only, and no tokens.")
    if presented.signed:
        raise Refusal(
            "malformed_credentials", "A request is signed, or carries an access token, and never both."
        )


def _nobody(routed: Routed) -> Authenticated:
    return Authenticated(routed, None, None, b"", EMPTY_SHA256)
