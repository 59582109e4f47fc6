"""Who is calling with an access token: whose it is, what it is good for, and that its holder may present it.

Invariant: `verify` returns only for a token that a known issuer signed for us with a key that is still good, that has
not expired, whose client and partner may be here, and that comes from its holder: with a DPoP proof by the key it is
bound to, or over a connection with the certificate it is bound to. One that is bound to nothing passes only where its
issuer or client may have such. That a proof is used once is the store's part: `VerifiedToken.nonce` is what to take.

What a signature was verified for is kept by the token's digest until it expires, bounded in number; what may change is
asked anew with each request, in memory. Only tokens that verified are kept, so no stranger fills it.
Refuses: everything else, with `InvalidToken`, and with `NonceWanted` what lacks only the nonce that is asked for.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from auth import dpop, jose
from auth.oauth import token_claims
from auth.oauth.token_claims import Claims, InvalidToken, NonceWanted, Reason
from auth.presented import Presented
from keys import usage
from keys.served import Entitlement

_MOST_KEPT: Final = 32_768
_PORT: Final = re.compile(r":[0-9]+\Z")
_PROOF_REASONS: Final[dict[dpop.Reason, Reason]] = {
    "malformed": "proof_malformed",
    "wrong_type": "proof_wrong_type",
    "bad_key": "proof_bad_key",
    "bad_signature": "proof_bad_signature",
    "bad_claims": "proof_bad_claims",
    "wrong_method": "proof_wrong_method",
    "wrong_uri": "proof_wrong_uri",
    "wrong_token": "proof_wrong_token",
    "wrong_key": "proof_wrong_key",
    "stale": "proof_stale",
}


class Source(Protocol):
    """One issuer's tokens. All three work in memory. `read` and `entitle` raise `InvalidToken`."""

    def find_key(self, kid: str | None, now_ms: int) -> jose.VerificationKey | None: ...
    def read(self, jws: jose.Jws) -> Claims: ...
    def entitle(self, claims: Claims, now_ms: int) -> Entitlement: ...


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Of the request that a token came with. `find_certificate`: the thumbprint of the one its connection showed.
    `host`: the only one that what was asked for is served at, if there is one.
    """

    method: str
    path: str
    now_ms: int
    find_certificate: Callable[[], str | None]
    host: str | None = None


class Known(msgspec.Struct, frozen=True, eq=False):
    """A token whose signature verified by this key."""

    claims: Claims
    key: jose.VerificationKey
    source: Source


class TokenHolder(msgspec.Struct, frozen=True, eq=False):
    """Stands where a signed request has its key: whom it is counted and granted to."""

    entitlement: Entitlement

    @property
    def id(self) -> str:
        return self.entitlement.id

    @property
    def partner(self) -> str:
        return self.entitlement.partner


class VerifiedToken(msgspec.Struct, frozen=True, eq=False):
    """Made by `TokenAuthenticator` alone. `nonce`: what to take, so that the proof is used once; None without one."""

    key: TokenHolder
    presented: Presented
    known: Known
    nonce: bytes | None
    version: int = usage.NO_VERSION


class Rules(msgspec.Struct, frozen=True):
    """`origins`: by which this gateway is known outside. `nonces`: None where proofs need none. Nothing passes that was
    proved before the replay store began to remember.
    """

    origins: tuple[str, ...]
    nonces: dpop.Nonces | None
    remembers_since_ms: int = 0


class TokenAuthenticator:
    def __init__(self, sources: Mapping[str, Source], rules: Rules) -> None:
        self._sources = dict(sources)
        self._rules = rules
        self._origins_at = _by_host(rules.origins)
        self._known: OrderedDict[bytes, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def verify(self, presented: Presented, facts: Facts) -> VerifiedToken:
        try:
            known = self._find(presented.access_token, facts.now_ms)
            entitlement = known.source.entitle(known.claims, facts.now_ms)
            nonce = self._require_holder(presented, known.claims, facts)
        except InvalidToken as refused:
            raise InvalidToken(refused.reason, presented.scheme) from None
        return VerifiedToken(TokenHolder(entitlement), presented, known, nonce)

    def verify_again(self, verified: VerifiedToken, now_ms: int) -> VerifiedToken:
        """Whether it is still good: for a request whose body took its time."""
        known = verified.known
        try:
            self._require_good(known, now_ms)
            entitlement = known.source.entitle(known.claims, now_ms)
        except InvalidToken as refused:
            raise InvalidToken(refused.reason, verified.presented.scheme) from None
        return msgspec.structs.replace(verified, key=TokenHolder(entitlement))

    def _find(self, access_token: bytes, now_ms: int) -> Known:
        digest = sha256(access_token).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._read(access_token, now_ms)
            self._known[digest] = known
            if len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)
        try:
            self._require_good(known, now_ms)
        except InvalidToken:
            self._known.pop(digest, None)
            raise
        return known

    def _read(self, access_token: bytes, now_ms: int) -> Known:
        try:
            jws = jose.parse(access_token)
        except jose.MalformedJws:
            raise InvalidToken("malformed") from None
        issuer = jws.claims.get("iss")
        source = self._sources.get(issuer) if isinstance(issuer, str) else None
        if source is None:
            raise InvalidToken("wrong_issuer")
        key = source.find_key(jws.kid, now_ms)
        if key is None:
            raise InvalidToken("unknown_key")
        try:
            jose.verify(jws, key)
        except jose.BadJwsSignature:
            raise InvalidToken("bad_signature") from None
        return Known(source.read(jws), key, source)

    @staticmethod
    def _require_good(known: Known, now_ms: int) -> None:
        token_claims.require_current(known.claims, now_ms)
        # A key that was withdrawn takes with it all that it ever signed.
        key = known.source.find_key(known.claims.kid, now_ms)
        if key is None or (key.thumbprint, key.algorithm) != (known.key.thumbprint, known.key.algorithm):
            raise InvalidToken("unknown_key")

    def _require_holder(self, presented: Presented, claims: Claims, facts: Facts) -> bytes | None:
        if claims.jkt is not None:
            if presented.scheme != "DPoP":
                raise InvalidToken("bound_to_key")
            return self._check_proof(presented, claims.jkt, facts)
        if presented.scheme == "DPoP":
            raise InvalidToken("not_bound")
        if claims.x5t is not None:
            shown = facts.find_certificate()
            if shown is None or not hmac.compare_digest(claims.x5t.encode(), shown.encode()):
                raise InvalidToken("wrong_certificate")
        return None

    def _check_proof(self, presented: Presented, jkt: str, facts: Facts) -> bytes:
        if presented.proof is None:
            raise InvalidToken("no_proof")
        rules = self._rules
        try:
            proof = dpop.check(
                presented.proof,
                method=facts.method,
                uris=_uris(self._find_origins(facts.host), facts.path),
                now_ms=facts.now_ms,
                nonces=rules.nonces,
                access_token=presented.access_token,
                bound_jkt=jkt,
            )
        except dpop.InvalidProof as refused:
            raise InvalidToken(_PROOF_REASONS[refused.reason]) from None
        except dpop.NonceNeeded:
            if rules.nonces is None:
                raise
            raise NonceWanted(rules.nonces.current()) from None
        # As far as a clock may be ahead, a proof may have been taken by a store that is gone.
        if rules.remembers_since_ms and proof.iat_ms - dpop.AHEAD_MS <= rules.remembers_since_ms:
            raise InvalidToken("proof_stale")
        return proof.digest

    def _find_origins(self, host: str | None) -> Collection[str]:
        """All, unless one of them is the host: then a proof for the same path at another is for something else."""
        return (
            self._rules.origins if host is None else self._origins_at.get(host.lower(), self._rules.origins)
        )


def _by_host(origins: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for origin in origins:
        found.setdefault(_PORT.sub("", origin.partition("://")[2]), []).append(origin)
    return found


def _uris(origins: Collection[str], path: str) -> list[str]:
    uris = [origin + path for origin in origins]
    return [dpop.normalise_uri(uri) for uri in uris] if "%" in path else uris
