"""API keys as a kind of secret: HMAC secrets that we mint, and Ed25519 public keys that partners bring.

Invariant: a minted secret leaves here once, wrapped, and is stored only sealed; a public key is checked before it is
ever trusted, and one that this key has had before, ended or not, never comes back.
Refuses: a public key for an HMAC key, none for an Ed25519 key, and a proof that the new private key did not make.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import api_keys, ed25519, envelope, requests
from keys import format as key_format
from keys.changes import Change
from keys.data_keys import DataKeys, OpenDataKey
from keys.environment import Environment
from keys.held import HeldSecret
from keys.kinds import Draft, Offer, OfferRefused
from keys.secret import Secret
from keys.versions import Material
from storage import engine

_PROOF_LABEL: Final = "PORTREEVE1-NEW-KEY"


class ProofRefused(OfferRefused):
    field = "proof"


class PublicKeyReused(OfferRefused):
    field = "public_key"


def proof_message(key_id: str, public_key: bytes) -> bytes:
    """What the new private key signs, so that nobody registers a key that is not theirs."""
    return f"{_PROOF_LABEL}\n{key_id}\n{public_key.hex()}".encode()


class ApiKeySecrets:
    # At most two versions verify: a verifier checks no more.
    ends_older: Final = True

    def __init__(self, engine_: AsyncEngine, data_keys: DataKeys, entropy: Callable[[int], bytes]) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._entropy = entropy

    async def draft(self, secret: HeldSecret, offer: Offer) -> Draft:
        async with engine.reading(self._engine) as conn:
            key = await api_keys.get(conn, secret.id)
        if key.algorithm == "ed25519":
            return _adopt(secret, offer)
        if offer.public_key is not None or offer.proof is not None:
            raise requests.PublicKeyNeedless("an hmac-sha256 key has a secret and no public key")
        return await self.mint(key.id, key.environment)

    async def mint(self, key_id: str, environment: Environment) -> Draft:
        data_key = await self._data_keys.get_current(environment)
        secret = key_format.mint_secret(environment, self._entropy(key_format.SECRET_ENTROPY))
        return Draft(seal=partial(self._seal, data_key, secret, key_id, environment), shown=secret)

    async def end(self, change: Change, secret: HeldSecret) -> str:
        await api_keys.mark_revoked(change, secret.id)
        return "api_key.revoked"

    def _seal(
        self, data_key: OpenDataKey, secret: Secret, key_id: str, environment: Environment, version: int
    ) -> Material:
        ciphertext = api_keys.seal_secret(
            data_key.key,
            # Partners sign with the secret as it is shown to them, prefix and check included.
            secret.reveal().encode(),
            key_id=key_id,
            version=version,
            environment=environment,
            nonce=self._entropy(envelope.NONCE_SIZE),
        )
        return Material(ciphertext=ciphertext, data_key_id=data_key.id)


def _adopt(secret: HeldSecret, offer: Offer) -> Draft:
    public_key = offer.public_key
    if public_key is None:
        raise requests.PublicKeyMissing("an ed25519 key needs the partner's new public key")
    ed25519.validate_public_key(public_key)
    if any(version.public_key == public_key for version in secret.versions):
        raise PublicKeyReused("the key has had this public key before: a rotation brings a new one")
    if offer.proof is not None:
        _check_proof(secret.id, public_key, offer.proof)
    return Draft(seal=lambda _: Material(public_key=public_key), public_key=public_key)


def _check_proof(key_id: str, public_key: bytes, proof: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(proof, proof_message(key_id, public_key))
    except InvalidSignature:
        raise ProofRefused("the proof is not a signature by the new private key for this key") from None
