"""What proves to a partner that a message is ours: the three headers of Standard Webhooks. Pure.

Invariant: signed are id, time and the very bytes of the body, by every key that may sign, each with a signature of its
own. The id is the same with every attempt; the time is the attempt's, so that a captured message grows old.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

from keys.secret import SecretBytes

Headers = tuple[tuple[str, str], ...]


def sign(keys: Iterable[SecretBytes], message_id: str, now_ms: int, body: bytes) -> Headers:
    seconds = now_ms // 1_000
    signed = b"%b.%d.%b" % (message_id.encode("ascii"), seconds, body)
    signatures = " ".join(_sign_one(key, signed) for key in keys)
    return (
        ("webhook-id", message_id),
        ("webhook-timestamp", str(seconds)),
        ("webhook-signature", signatures),
    )


def _sign_one(key: SecretBytes, signed: bytes) -> str:
    digest = hmac.new(key.reveal(), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"
