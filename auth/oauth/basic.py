"""A client's id and secret in the `Authorization` header, as RFC 6749 writes them: each form-encoded, then joined.

Invariant: of a secret only its digest goes on, so that nothing past this file can show it. Comparing takes as many
comparisons whoever is refused. Refuses every other scheme, and what is not canonical base64 of UTF-8.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from hmac import compare_digest
from typing import Final
from urllib.parse import unquote_plus

import msgspec

from auth.oauth import errors
from keys.secret import SecretBytes

_LONGEST: Final = 1_024
# Two secrets are live while a client rotates.
_COMPARED: Final = 2


class Basic(msgspec.Struct, frozen=True):
    client_id: str
    digest: SecretBytes


def parse(authorization: str) -> Basic:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _LONGEST:
        raise errors.invalid_client("other_scheme", challenged=True)
    try:
        raw = base64.b64decode(encoded, validate=True)
        client_id, colon, secret = raw.decode().partition(":")
        client_id, secret = (unquote_plus(part, errors="strict") for part in (client_id, secret))
    except (binascii.Error, ValueError):
        raise errors.invalid_client("malformed_basic", challenged=True) from None
    if not (client_id and colon and secret) or base64.b64encode(raw).decode() != encoded:
        raise errors.invalid_client("malformed_basic", challenged=True)
    return Basic(client_id, SecretBytes(hashlib.sha256(secret.encode()).digest()))


def verify(basic: Basic, digests: Iterable[SecretBytes], decoy: bytes) -> None:
    """`digests`: of the client's live secrets, and none where there is no such client."""
    kept = [each.reveal() for each in digests][:_COMPARED]
    kept += [decoy] * (_COMPARED - len(kept))
    found = [compare_digest(basic.digest.reveal(), each) for each in kept]
    if not any(found):
        raise errors.invalid_client("bad_secret", challenged=True)
