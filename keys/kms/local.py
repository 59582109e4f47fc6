"""The embedded KMS: a master key in a file of this machine wraps the data keys.

A wrapped key is `version marker ‖ nonce ‖ AES-256-GCM ciphertext and tag`, under a key derived from the
master key with a named label, with the context authenticated. It needs no network, so it is never
unavailable; it refuses what another master key wrapped, another context, and altered bytes.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keys import envelope, kms
from keys.kms import binding, master_key
from keys.secret import Secret, SecretBytes

MARKER: Final = b"\x01"
_NONCE_SIZE: Final = 12
_WRAP_LABEL: Final = b"portreeve/kms/local/wrap/1"
_NAME_LABEL: Final = b"portreeve/kms/local/name/1"


class LocalKms:
    """Implements `KmsBackend`; the file is read once, here."""

    name: Final = "local"

    def __init__(
        self,
        master_key_file: Path,
        passphrase: Secret | None = None,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        master = master_key.load(master_key_file, passphrase)
        self._entropy = entropy
        self._cipher = AESGCM(_derive(master, _WRAP_LABEL, envelope.DATA_KEY_SIZE))
        # A name that says which master key this is and nothing of its bytes, to tell the wrong file at once.
        self._key_id = _derive(master, _NAME_LABEL, 8).hex()

    @staticmethod
    def create(
        master_key_file: Path,
        passphrase: Secret | None = None,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        master_key.create(master_key_file, passphrase, entropy)

    @property
    def key_id(self) -> str:
        return self._key_id

    async def generate_data_key(self, context: Mapping[str, str]) -> kms.DataKey:
        plaintext = SecretBytes(self._entropy(envelope.DATA_KEY_SIZE))
        return kms.DataKey(plaintext, await self.wrap(plaintext, context))

    async def wrap(self, plaintext: SecretBytes, context: Mapping[str, str]) -> bytes:
        nonce = self._entropy(_NONCE_SIZE)
        return MARKER + nonce + self._cipher.encrypt(nonce, plaintext.reveal(), _bound(context))

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> SecretBytes:
        nonce, body = wrapped[1 : 1 + _NONCE_SIZE], wrapped[1 + _NONCE_SIZE :]
        # Checked first: the cipher answers a short nonce with a complaint of its own.
        if wrapped[:1] != MARKER or len(nonce) != _NONCE_SIZE:
            raise kms.KmsRefused("not a key that the local KMS wrapped")
        try:
            return SecretBytes(self._cipher.decrypt(nonce, body, _bound(context)))
        except InvalidTag:
            raise kms.KmsRefused(
                "another master key wrapped it, or for another context, or it was altered"
            ) from None

    async def aclose(self) -> None:
        """Nothing is open."""


def _derive(master: SecretBytes, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(master.reveal())


def _bound(context: Mapping[str, str]) -> bytes:
    return MARKER + binding.frame_context(_WRAP_LABEL, context)
