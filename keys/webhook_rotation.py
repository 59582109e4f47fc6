"""The secrets of webhooks as a kind that is rotated like every other: we mint them, and the partner is given them.

Invariant: a minted secret leaves here once, wrapped, and is stored only sealed. While an old one is being retired what
is sent has a signature by each; a further rotation ends the oldest, so that there are two and no more.
Refuses: a public key, and to leave a webhook without a secret that signs: it is removed instead.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from keys import envelope, webhook_secrets
from keys.changes import Change
from keys.data_keys import DataKeys, OpenDataKey
from keys.held import HeldSecret
from keys.kinds import NOTHING, Draft, NotEndedHere, Offer, OfferRefused
from keys.secret import Secret
from keys.versions import Material


class PublicKeyNeedless(OfferRefused):
    field = "public_key"


class WebhookSecrets:
    ends_older: Final = True

    def __init__(self, data_keys: DataKeys, entropy: Callable[[int], bytes]) -> None:
        self._data_keys = data_keys
        self._entropy = entropy

    async def draft(self, secret: HeldSecret, offer: Offer) -> Draft:
        if offer != NOTHING:
            raise PublicKeyNeedless("a webhook has a secret of ours and no public key")
        _, draft = await self.mint(secret.id)
        return draft

    async def mint(self, webhook_id: str) -> tuple[Secret, Draft]:
        data_key = await self._data_keys.get_current(webhook_secrets.DOMAIN)
        secret = webhook_secrets.mint_webhook_secret(self._entropy(webhook_secrets.ENTROPY))
        return secret, Draft(seal=partial(self._seal, data_key, secret, webhook_id), shown=secret)

    async def end(self, change: Change, secret: HeldSecret) -> str:  # noqa: ARG002  what a kind is asked
        raise NotEndedHere(f"{secret.id} would have nothing to sign with: remove the webhook")

    def _seal(self, data_key: OpenDataKey, secret: Secret, webhook_id: str, version: int) -> Material:
        ciphertext = webhook_secrets.seal(
            data_key.key,
            secret,
            webhook_id=webhook_id,
            version=version,
            nonce=self._entropy(envelope.NONCE_SIZE),
        )
        return Material(ciphertext=ciphertext, data_key_id=data_key.id)
