"""An independent PORTREEVE1 signer, written from the contract alone.

Invariant: what is signed is what is sent, byte for byte; every part can be overridden, so that a test
can sign one thing and send another. It shares no code with the product.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import time

from cryptography.hazmat.primitives.asymmetric import ed25519

Headers = list[tuple[str, str]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fresh_nonce() -> str:
    return secrets.token_urlsafe(18)


def string_to_sign(timestamp: str, nonce: str, key_id: str, method: str, target: bytes, body: bytes) -> bytes:
    path, _, query = target.partition(b"?")
    digest = hashlib.sha256(body).hexdigest()
    head = f"PORTREEVE1\n{timestamp}\n{nonce}\n{key_id}\n{method}\n".encode()
    return head + path + b"\n" + query + b"\n" + digest.encode()


@dataclasses.dataclass(frozen=True)
class Signer:
    """One partner's key: an HMAC secret as shown, or the hex seed of an Ed25519 private key."""

    key_id: str
    algorithm: str
    secret: str = dataclasses.field(repr=False)

    def signature(self, message: bytes) -> str:
        if self.algorithm == "hmac-sha256":
            return hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()
        private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.secret))
        return private.sign(message).hex()

    def headers(
        self,
        method: str,
        target: bytes,
        body: bytes = b"",
        *,
        timestamp: str | None = None,
        nonce: str | None = None,
    ) -> Headers:
        stamp = str(now_ms()) if timestamp is None else timestamp
        once = fresh_nonce() if nonce is None else nonce
        message = string_to_sign(stamp, once, self.key_id, method, target, body)
        return [
            ("Portreeve-Key", self.key_id),
            ("Portreeve-Timestamp", stamp),
            ("Portreeve-Nonce", once),
            ("Portreeve-Signature", self.signature(message)),
        ]

    def request(
        self,
        method: str,
        target: bytes,
        body: bytes = b"",
        *,
        extra: Headers | None = None,
        timestamp: str | None = None,
        nonce: str | None = None,
        host: str = "gateway.test",
    ) -> bytes:
        """The whole signed request, ready for a socket."""
        signed = self.headers(method, target, body, timestamp=timestamp, nonce=nonce)
        return plain_request(method, target, [*signed, *(extra or [])], body, host=host)


def plain_request(
    method: str,
    target: bytes,
    headers: Headers | None = None,
    body: bytes = b"",
    *,
    host: str | None = "gateway.test",
) -> bytes:
    """A request as bytes: nothing is checked, and only a body's length is added."""
    lines = [method.encode("latin-1") + b" " + target + b" HTTP/1.1"]
    if host is not None:
        lines.append(b"Host: " + host.encode("latin-1"))
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers or []]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def replace(headers: Headers, name: str, value: str | None) -> Headers:
    """The same headers with one value swapped, or with that header left out."""
    kept = [(key, value if key == name and value is not None else old) for key, old in headers]
    return [pair for pair in kept if value is not None or pair[0] != name]


def new_ed25519() -> tuple[str, str]:
    """A fresh private seed and its public key, both in hex."""
    private = ed25519.Ed25519PrivateKey.generate()
    return private.private_bytes_raw().hex(), private.public_key().public_bytes_raw().hex()
