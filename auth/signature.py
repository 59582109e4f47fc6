"""Which key signed a request, and whether that key may still be used.

Invariant: `verify` returns only when the signature is right under a serving version of the very key that
the request names, by the algorithm fixed for that key. What a stranger can see is the same for a key that
does not exist, a key of the other algorithm and a wrong signature: one exception, and the same number of
checks of the same kind, chosen by the length of the signature alone.
Refuses: any wrong signature with `BadSignature`; after a right one, a key that is revoked, expired or
frozen, or whose partner is. None of those states shows to anyone who cannot sign for the key.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519

from auth import credential as credentials
from keys import served
from keys.records import Algorithm
from keys.secret import HmacKey
from keys.verifiers import Ed25519Verifier, Verifier

AuditReason = Literal["unknown_key", "other_algorithm", "wrong_signature"]

_SIGNATURE_BYTES: Final[dict[Algorithm, int]] = {"hmac-sha256": 32, "ed25519": 64}
_DECOY_SECRET_BYTES: Final = 32
# An active version and a retiring one. A refusal always makes this many checks, so that it tells
# neither whether the key exists nor whether it is being rotated.
_CHECKS: Final = 2


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
        self._hmac_decoy = HmacKey(entropy(_DECOY_SECRET_BYTES))
        # The private half is dropped here; a signature made with it would be refused all the same.
        private_key = ed25519.Ed25519PrivateKey.from_private_bytes(entropy(32))
        self._ed25519_decoy = Ed25519Verifier(private_key.public_key())

    def verify(self, credential: credentials.SignedCredential, canonical: bytes, now_ms: int) -> VerifiedKey:
        find, signature = self._find, credential.signature
        key = find(credential.key_id)
        checks = 0
        if key is not None and len(signature) == _SIGNATURE_BYTES[key.algorithm]:
            for version, verifier in key.verifiers:
                if verifier.verifies(signature, canonical):
                    if now_ms >= key.refused_from:
                        raise _refusal(key, now_ms)
                    return VerifiedKey(key, version)
                checks += 1
        algorithm: Algorithm = (
            "hmac-sha256" if len(signature) == _SIGNATURE_BYTES["hmac-sha256"] else "ed25519"
        )
        decoy: Verifier = self._hmac_decoy if algorithm == "hmac-sha256" else self._ed25519_decoy
        for _ in range(checks, _CHECKS):
            decoy.verifies(signature, canonical)
        raise BadSignature(credential.key_id, _audit_reason(key, algorithm))


def _refusal(key: served.ServedKey, now_ms: int) -> KeyRefused:
    """Of several states the most final one."""
    if key.revoked:
        return KeyRevoked(key)
    if key.expires_at is not None and now_ms >= key.expires_at:
        return KeyExpired(key)
    return KeyFrozen(key) if key.frozen else PartnerFrozen(key)


def _audit_reason(key: served.ServedKey | None, asked: Algorithm) -> AuditReason:
    if key is None:
        return "unknown_key"
    return "wrong_signature" if key.algorithm == asked else "other_algorithm"
