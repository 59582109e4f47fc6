"""The secrets that sign what partners are told: `whsec_` and the base64 of 32 random bytes (Standard Webhooks).

Pure. What is sealed is the text as the partner got it; what signs are the bytes that it stands for.

Invariant: a secret opens only for the webhook and version that it was sealed for. Refuses: entropy of another
length, and a text that `mint` could not have made.
"""

import base64
import binascii
from typing import Final

from keys import envelope
from keys.secret import Secret, SecretBytes

ENTROPY: Final = 32
# Their own data key: a webhook belongs to a partner, and to neither environment.
DOMAIN: Final = "service"

_PREFIX: Final = "whsec_"
_KIND: Final = "webhook-secret"


class MalformedWebhookSecret(ValueError):
    """Carries nothing of what was given."""

    def __init__(self) -> None:
        super().__init__("not a webhook secret: the prefix, the length or the alphabet is wrong")


def mint_webhook_secret(entropy: bytes) -> Secret:
    if len(entropy) != ENTROPY:
        raise ValueError(f"{ENTROPY} bytes of entropy are needed, {len(entropy)} were given")
    return Secret(_PREFIX + base64.b64encode(entropy).decode("ascii"))


def parse_signing_key(secret: Secret) -> SecretBytes:
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise MalformedWebhookSecret from None
    if len(key) != ENTROPY or text != _PREFIX + base64.b64encode(key).decode("ascii"):
        raise MalformedWebhookSecret
    return SecretBytes(key)


def seal(data_key: SecretBytes, secret: Secret, *, webhook_id: str, version: int, nonce: bytes) -> bytes:
    return envelope.seal(
        data_key,
        secret.reveal().encode("ascii"),
        kind=_KIND,
        record_id=webhook_id,
        version=version,
        environment=DOMAIN,
        nonce=nonce,
    )


def open_(data_key: SecretBytes, ciphertext: bytes, *, webhook_id: str, version: int) -> Secret:
    plaintext = envelope.open_(
        data_key, ciphertext, kind=_KIND, record_id=webhook_id, version=version, environment=DOMAIN
    )
    return Secret(plaintext.decode("ascii"))
