"""OAuth clients as a kind of secret: secrets that we mint, and public keys that partners bring as JSON Web Keys.

Invariant: a minted secret leaves here once, wrapped; stored is its SHA-256 alone, and that sealed. A secret is 256 bits
of chance, so nobody finds it by its digest, and to compare one costs next to nothing. A public key is checked before it
is ever trusted; one that this client has had before, ended or not, never comes back, and two that verify never share a
`kid`. Two versions verify while one is retired, and no more.
Refuses: a key for a client that has none by value, none for one that has, and a proof, which nobody here asks for.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from keys import envelope, oauth_client_rows, public_jwks, rotation
from keys import format as key_format
from keys.changes import Change
from keys.data_keys import DataKeys, OpenDataKey
from keys.environment import Environment
from keys.held import HeldSecret
from keys.kinds import NOTHING, Draft, Offer, OfferRefused
from keys.public_jwks import PublicJwk
from keys.secret import Secret, SecretBytes
from keys.versions import Material
from storage import engine

_KIND: Final = "oauth-client-secret"


class JwkMissing(OfferRefused):
    field = "jwk"


class JwkNeedless(OfferRefused):
    field = "jwk"


class JwkReused(OfferRefused):
    field = "jwk"


class ProofNeedless(OfferRefused):
    field = "proof"


class NothingToRotate(OfferRefused):
    """Neither a secret nor keys of its own lie here."""


def digest(secret: Secret) -> bytes:
    """What is kept of it, and what a secret that comes is compared by."""
    return hashlib.sha256(secret.reveal().encode()).digest()


def open_digest(
    data_key: SecretBytes, ciphertext: bytes, *, client_id: str, version: int, environment: str
) -> SecretBytes:
    opened = envelope.open_(
        data_key, ciphertext, kind=_KIND, record_id=client_id, version=version, environment=environment
    )
    return SecretBytes(opened)


class OAuthClientSecrets:
    ends_older: Final = True

    def __init__(self, engine_: AsyncEngine, data_keys: DataKeys, entropy: Callable[[int], bytes]) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._entropy = entropy

    async def draft(self, secret: HeldSecret, offer: Offer) -> Draft:
        async with engine.reading(self._engine) as conn:
            client = await oauth_client_rows.get(conn, secret.id)
        if offer.proof is not None:
            raise ProofNeedless("a client's key comes without a proof")
        if client.authentication == "client_secret_basic":
            if offer != NOTHING:
                raise JwkNeedless("this client has a secret and no keys")
            return await self.mint(client.id, client.environment)
        if client.authentication != "private_key_jwt":
            raise NothingToRotate(f"a client that authenticates by {client.authentication} has nothing here")
        if client.keys_url is not None:
            raise NothingToRotate(
                f"the keys of this client lie elsewhere, and change there: {client.keys_url}"
            )
        return adopt(secret, offer)

    async def mint(self, client_id: str, environment: Environment) -> Draft:
        data_key = await self._data_keys.get_current(environment)
        secret = key_format.mint_client_secret(environment, self._entropy(key_format.SECRET_ENTROPY))
        return Draft(seal=partial(self._seal, data_key, digest(secret), client_id, environment), shown=secret)

    async def end(self, change: Change, secret: HeldSecret) -> str:
        await oauth_client_rows.mark_revoked(change, secret.id)
        return "oauth_client.revoked"

    def _seal(
        self, data_key: OpenDataKey, digest_: bytes, client_id: str, environment: Environment, version: int
    ) -> Material:
        ciphertext = envelope.seal(
            data_key.key,
            digest_,
            kind=_KIND,
            record_id=client_id,
            version=version,
            environment=environment,
            nonce=self._entropy(envelope.NONCE_SIZE),
        )
        return Material(ciphertext=ciphertext, data_key_id=data_key.id)


def adopt(secret: HeldSecret, offer: Offer) -> Draft:
    if offer.public_key is None:
        raise JwkMissing("a client with keys of its own needs its new public key")
    brought = public_jwks.parse_serialised(offer.public_key)
    _require_new(secret, brought)
    serialised = brought.serialise()
    return Draft(seal=lambda _: Material(public_key=serialised), public_key=serialised)


def _require_new(secret: HeldSecret, brought: PublicJwk) -> None:
    for version in secret.versions:
        if version.public_key is None:
            continue
        known = public_jwks.parse_serialised(version.public_key)
        if known.thumbprint == brought.thumbprint:
            raise JwkReused("the client has had this key before: a rotation brings a new one")
        if known.kid is not None and known.kid == brought.kid and version.state in rotation.LIVING:
            raise JwkReused("another key that verifies has the same kid: give the new one its own")
