"""One-time passwords by the clock (RFC 6238): six digits by HMAC-SHA-1 every 30 seconds, as every device makes them.

The arithmetic is pure. Invariant: a code is good for its own step and the ones beside it, since clocks differ; which
step it was is answered, so that whoever takes it takes that one, once. Codes are compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import quote

from keys.secret import Secret, SecretBytes
from keys.totp_secrets import TotpSecrets

STEP_S: Final = 30
DIGITS: Final = 6
_BESIDE: Final = 1


def code_at(secret: SecretBytes, step: int) -> str:
    mac = hmac.new(secret.reveal(), step.to_bytes(8), hashlib.sha1).digest()
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4]) & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_of(now_ms: int) -> int:
    return now_ms // 1000 // STEP_S


def find_step(secret: SecretBytes, code: str, now_ms: int) -> int | None:
    """The step whose code this is, among those of now. Whether it was taken already is whoever takes it to find out."""
    given = code.replace(" ", "").encode("utf-8", "surrogatepass")
    found = None
    for step in range(step_of(now_ms) - _BESIDE, step_of(now_ms) + _BESIDE + 1):
        if hmac.compare_digest(code_at(secret, step).encode("ascii"), given):
            found = step
    return found


def write_secret(secret: SecretBytes) -> Secret:
    """As somebody types it into their device."""
    return Secret(base64.b32encode(secret.reveal()).rstrip(b"=").decode("ascii"))


def write_uri(secret: SecretBytes, *, issuer: str, email: str) -> Secret:
    """What the QR code holds."""
    label = quote(f"{issuer}:{email}", safe="@:")
    named = quote(issuer, safe="")
    return Secret(
        f"otpauth://totp/{label}?secret={write_secret(secret).reveal()}&issuer={named}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
    )


class OneTimePasswords:
    def __init__(self, secrets: TotpSecrets) -> None:
        self._secrets = secrets

    async def find_step(self, totp_id: str | None, code: str, now_ms: int) -> int | None:
        """By the confirmed secret; None where there is none, or where this is no code of it."""
        opened = None if totp_id is None else await self._secrets.find(totp_id, "active")
        return None if opened is None else find_step(opened.secret, code, now_ms)
