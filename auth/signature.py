"""Which key signed a request, and whether that key may still be used.

Invariant: `verify` returns only when the signature is right under a serving version of the very key that
the request names, by the algorithm fixed for that key. What a stranger can see is the same for a key that
does not exist, a key of the other algorithm and a wrong signature: one exception, and the same number of
checks of the same kind, chosen by the length of the signature alone.
Refuses: any wrong signature with `BadSignature`; after a right one, a key that is revoked, expired or
frozen, or whose partner is. None of those states shows to anyone who cannot sign for the key.
"""

import hmac
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from auth import credential as credentials
from keys import served
from keys.secret import HmacKey

AuditReason = Literal["unknown_key", "other_algorithm", "wrong_signature"]

_HMAC_SIGNATURE_BYTES: Final = 32
_DECOY_SECRET_BYTES: Final = 32
# An active version and a retiring one. A refusal always makes this many checks, so that it tells
# neither whether the key exists nor whether it is being rotated.
_CHECKS: Final = 2
_VERIFYING_STATES: Final = ("active", "retiring")


class BadSignature(Exception):
    """`audit_reason` is for the audit line only: outside, every cause is this one answer."""

    def __init__(self, key_id: str, audit_reason: AuditReason) -> None:
        super().__init__("The signature does not verify.")
        self.key_id = key_id
        self.audit_reason: AuditReason = audit_reason


class KeyRefused(Exception):
    """The signature was right, and the key may not be used. Its holder is told why."""

    def __init__(self, key: served.ServedKey) -> None:
        super().__init__(f"{type(self).__name__}: {key.id}")
        self.key = key


class KeyRevoked(KeyRefused):
    pass


class KeyExpired(KeyRefused):
    pass


class KeyFrozen(KeyRefused):
    pass


class PartnerFrozen(KeyRefused):
    pass


class VerifiedKey(msgspec.Struct, frozen=True, gc=False):
    """Made by `SignatureAuthenticator.verify` alone: to hold one is to have seen a right signature."""

    key: served.ServedKey
    version: int


class SignatureAuthenticator:
    def __init__(
        self, find: Callable[[str], served.ServedKey | None], *, entropy: Callable[[int], bytes]
    ) -> None:
        self._find = find
        self._decoy_secret = HmacKey(entropy(_DECOY_SECRET_BYTES))
        # The private half is dropped here; a signature made with it would be refused all the same.
        self._decoy_public_key = ed25519.Ed25519PrivateKey.from_private_bytes(entropy(32)).public_key()

    def verify(self, credential: credentials.SignedCredential, canonical: bytes, now_ms: int) -> VerifiedKey:
        key = self._find(credential.key_id)
        if len(credential.signature) == _HMAC_SIGNATURE_BYTES:
            version = self._find_hmac_version(key, credential.signature, canonical)
        else:
            version = self._find_ed25519_version(key, credential.signature, canonical)
        if key is None or version is None:
            raise BadSignature(credential.key_id, _audit_reason(key, credential.signature))
        _require_usable(key, now_ms)
        return VerifiedKey(key, version)

    def _find_hmac_version(
        self, key: served.ServedKey | None, signature: bytes, canonical: bytes
    ) -> int | None:
        checks = 0
        for version in _verifying_versions(key, "hmac-sha256"):
            if version.secret is None:
                continue
            checks += 1
            if _hmac_matches(version.secret, canonical, signature):
                return version.version
        for _ in range(checks, _CHECKS):
            _hmac_matches(self._decoy_secret, canonical, signature)
        return None

    def _find_ed25519_version(
        self, key: served.ServedKey | None, signature: bytes, canonical: bytes
    ) -> int | None:
        checks = 0
        for version in _verifying_versions(key, "ed25519"):
            if version.public_key is None:
                continue
            checks += 1
            if _ed25519_matches(version.public_key, canonical, signature):
                return version.version
        for _ in range(checks, _CHECKS):
            _ed25519_matches(self._decoy_public_key, canonical, signature)
        return None


def _verifying_versions(key: served.ServedKey | None, algorithm: str) -> list[served.ServedVersion]:
    if key is None or key.algorithm != algorithm:
        return []
    return [
        version
        for version in key.versions
        # A revoked key keeps its last versions, so that whoever holds the secret hears `KeyRevoked`.
        if version.algorithm == algorithm and (key.revoked or version.state in _VERIFYING_STATES)
    ]


def _hmac_matches(secret: HmacKey, canonical: bytes, signature: bytes) -> bool:
    return hmac.compare_digest(secret.sign(canonical), signature)


def _ed25519_matches(public_key: ed25519.Ed25519PublicKey, canonical: bytes, signature: bytes) -> bool:
    try:
        public_key.verify(signature, canonical)
    except InvalidSignature:
        return False
    return True


def _require_usable(key: served.ServedKey, now_ms: int) -> None:
    if key.revoked:
        raise KeyRevoked(key)
    if key.expires_at is not None and now_ms >= key.expires_at:
        raise KeyExpired(key)
    if key.frozen:
        raise KeyFrozen(key)
    if key.partner_frozen:
        raise PartnerFrozen(key)


def _audit_reason(key: served.ServedKey | None, signature: bytes) -> AuditReason:
    if key is None:
        return "unknown_key"
    asked = "hmac-sha256" if len(signature) == _HMAC_SIGNATURE_BYTES else "ed25519"
    return "wrong_signature" if key.algorithm == asked else "other_algorithm"
