"""What a signature is checked with, whatever its algorithm: one question, answered yes or no."""

from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Verifier(Protocol):
    def verifies(self, signature: bytes, message: bytes) -> bool: ...


class Ed25519Verifier:
    __slots__ = ("_public_key",)

    def __init__(self, public_key: Ed25519PublicKey) -> None:
        self._public_key = public_key

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            self._public_key.verify(signature, message)
        except InvalidSignature:
            return False
        return True
