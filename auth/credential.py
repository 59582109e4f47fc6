"""The claim a signed request makes: four headers, parsed and not yet believed.

Invariant: one grammar, no second spelling. What parses can be written back byte for byte, so a
signature, a nonce or a key id has exactly one form and nothing downstream needs to normalise.
Refuses: uppercase hex, signs, leading zeros, blanks, line ends, key ids whose checksum is wrong, and a
window that is zero or longer than the longest one allowed.
"""

import re
from binascii import Error, hexlify, unhexlify
from functools import lru_cache
from typing import Final, Literal

import msgspec

import compiled
from keys import format as key_format

if compiled.IS_USED:
    from compiled.claims import read_claim

Header = Literal["Portreeve-Key", "Portreeve-Timestamp", "Portreeve-Nonce", "Portreeve-Signature"]

_HEADERS: Final[tuple[Header, ...]] = (
    "Portreeve-Key",
    "Portreeve-Timestamp",
    "Portreeve-Nonce",
    "Portreeve-Signature",
)
LONGEST_WINDOW_MS: Final = 60_000

# Nineteen digits hold nanoseconds, so that a timestamp in a wrong unit gets a hint and not a riddle.
_TIMESTAMP: Final = re.compile(rb"([1-9][0-9]{0,18})(?:/([1-9][0-9]{0,18}))?")
_NONCE: Final = re.compile(rb"[A-Za-z0-9_-]{16,64}")
# Both at once, a line each. Neither has room for a line end, so what matches divides in one way only.
_LINES: Final = re.compile(_TIMESTAMP.pattern + b"\n" + _NONCE.pattern)
# That of HMAC-SHA256, and that of Ed25519.
_SIGNATURE_BYTES: Final = (32, 64)

# Key id, timestamp, nonce and signature as they were sent, with None for what was not.
Sent = tuple[bytes | None, bytes | None, bytes | None, bytes | None]


class MissingCredentials(Exception):
    """None of the four headers is there: the request claims nobody."""

    def __init__(self) -> None:
        super().__init__("The request carries no Portreeve credentials.")


class MalformedCredentials(Exception):
    """A header is absent among others, or outside its grammar. The value itself is never repeated."""

    def __init__(self, header: Header, why: str) -> None:
        super().__init__(f"{header} {why}.")
        self.header: Header = header
        self.why = why


class SignedCredential(msgspec.Struct, frozen=True, gc=False):
    """The bytes are verbatim, a timestamp's window included: this is what was signed."""

    key_id: str
    signed_key_id: bytes
    timestamp: bytes
    at_ms: int
    window_ms: int | None
    nonce: bytes
    signature: bytes


def _parse(sent: Sent, max_window_ms: int = LONGEST_WINDOW_MS) -> SignedCredential:
    key_id, timestamp, nonce, signature = sent
    if key_id is None or timestamp is None or nonce is None or signature is None:
        raise _incomplete(sent)
    found = _LINES.fullmatch(timestamp + b"\n" + nonce)
    if found is None:
        raise _malformed(timestamp)
    at_digits, window_digits = found.groups()
    window_ms = None if window_digits is None else _parse_window(window_digits, max_window_ms)
    try:
        raw = unhexlify(signature)
    except Error:
        raw = b""
    # Written back to tell lowercase from uppercase: for so many digits this is much less work than matching them.
    if len(raw) not in _SIGNATURE_BYTES or hexlify(raw) != signature:
        raise MalformedCredentials("Portreeve-Signature", "must be 64 or 128 lowercase hex digits")
    return SignedCredential(_parse_key_id(key_id), key_id, timestamp, int(at_digits), window_ms, nonce, raw)


def _parse_compiled(sent: Sent, max_window_ms: int = LONGEST_WINDOW_MS) -> SignedCredential:
    """The ordinary claim, without a window. The others, and what is refused, are for `_parse`."""
    key_id, timestamp, nonce, signature = sent
    found = read_claim(timestamp, nonce, signature)
    if found is None or key_id is None or timestamp is None or nonce is None:
        return _parse(sent, max_window_ms)
    at_ms, raw = found
    return SignedCredential(_parse_key_id(key_id), key_id, timestamp, at_ms, None, nonce, raw)


parse = _parse_compiled if compiled.IS_USED else _parse


def _parse_window(digits: bytes, max_window_ms: int) -> int:
    window_ms = int(digits)
    if window_ms > max_window_ms:
        raise MalformedCredentials("Portreeve-Timestamp", f"asks for a window over {max_window_ms} ms")
    return window_ms


# A key id comes back with every request of its partner, and its check need not be computed anew. Bounded, because
# anybody can write an id that passes: then they are computed again.
@lru_cache(maxsize=16_384)
def _parse_key_id(key_id: bytes) -> str:
    try:
        text = key_id.decode("ascii")
        key_format.parse_key_id(text)
    except (UnicodeDecodeError, key_format.MalformedKeyId):
        # `from None`: the cause holds what the client sent, which belongs in no log.
        raise MalformedCredentials("Portreeve-Key", "is not a Portreeve key id") from None
    return text


def _malformed(timestamp: bytes) -> MalformedCredentials:
    """The first header that is outside its grammar, where one of the two is."""
    if _TIMESTAMP.fullmatch(timestamp) is None:
        return MalformedCredentials(
            "Portreeve-Timestamp",
            "must be Unix milliseconds, optionally followed by / and a window in milliseconds",
        )
    return MalformedCredentials("Portreeve-Nonce", "must be 16 to 64 characters of A-Z a-z 0-9 _ -")


def _incomplete(sent: Sent) -> MissingCredentials | MalformedCredentials:
    absent = [header for header, value in zip(_HEADERS, sent, strict=True) if value is None]
    if len(absent) == len(_HEADERS):
        return MissingCredentials()
    return MalformedCredentials(absent[0], "is missing while other credentials are present")
