"""Proofs of possession (DPoP, RFC 9449): a small signed statement by which a caller shows the key that it holds. Pure.

Invariant: a proof that passes was signed by the key it brings, for this method, this URI, this token and this moment;
and where nonces are asked for, with one that this gateway gave out in the last minute or two. That a proof is used
only once is the store's part: `Proof.digest` is what to take there.
Refuses: everything else, with a reason that never repeats the proof.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from auth import jose
from keys.secret import SecretBytes

PROOF_TYPE: Final = "dpop+jwt"
# From how long ago a proof may be, and how far a clock may be ahead.
WINDOW_MS: Final = 60_000
AHEAD_MS: Final = 10_000
# A nonce is good for one to two of these.
NONCE_WINDOW_MS: Final = 60_000

_LONGEST_JTI: Final = 256
_LONGEST_URI: Final = 4_096
# Longer than that of any key but the largest of RSA; what is longer is read every time.
_LONGEST_HEAD: Final = 1_024
_MOST_HEADS: Final = 4_096
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_URI: Final = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^?#\s\x00-\x1f\x7f-\U0010ffff]*)?"
    r"(?:[?#][^\s\x00-\x1f\x7f-\U0010ffff]*)?"
)
_ESCAPED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Reason = Literal[
    "malformed",
    "wrong_type",
    "bad_key",
    "bad_signature",
    "bad_claims",
    "wrong_method",
    "wrong_uri",
    "wrong_token",
    "wrong_key",
    "stale",
]


_Head = tuple[dict[str, Any], jose.VerificationKey]
_ReadHead = Callable[[bytes], _Head]


class InvalidProof(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class NonceNeeded(Exception):
    """The proof is right but for its nonce, which is missing or too old."""


class Proof(msgspec.Struct, frozen=True):
    """`jkt`: the thumbprint of the key. `digest`: what to take as a nonce, so that it is used once."""

    jkt: str
    jti: str
    digest: bytes
    iat_ms: int


class Nonces:
    """What callers put into proofs, so that none can be made long before. Nothing is kept: each follows from a key.

    `get_keys` gives the key that nonces are made with, first, and others by which they are accepted too, so that a
    change of keys goes unnoticed. Nonces are no secrets: whoever asks is given one.
    """

    def __init__(self, get_keys: Callable[[], Sequence[SecretBytes]], clock: Callable[[], int]) -> None:
        self._get_keys = get_keys
        self._clock = clock
        self._keys: Sequence[SecretBytes] = ()
        self._window = -1
        self._current = ""
        self._accepted: frozenset[str] = frozenset()

    def current(self) -> str:
        self._follow()
        return self._current

    def accepts(self, nonce: str) -> bool:
        self._follow()
        return nonce in self._accepted

    def _follow(self) -> None:
        keys, window = self._get_keys(), self._clock() // NONCE_WINDOW_MS
        if window == self._window and keys is self._keys:
            return
        # The next one as well: a node whose clock is ahead may have given it out.
        windows = (window, window - 1, window + 1)
        self._accepted = frozenset(_nonce(key, each) for key in keys for each in windows)
        self._current = _nonce(keys[0], window)
        self._keys, self._window = keys, window


def check(  # noqa: PLR0913  each is a thing the caller must have decided, by keyword
    proof: str | bytes,
    *,
    method: str,
    uris: Collection[str],
    now_ms: int,
    nonces: Nonces | None,
    access_token: str | bytes | None,
    bound_jkt: str | None,
) -> Proof:
    """`uris`: each that this request may have been sent to, as `normalise_uri` writes them."""
    # On routes a proof comes from whoever holds a token, and with the same head every time.
    jws, key = _verify(proof, _read_head if access_token is None else _read_kept_head)
    if bound_jkt is not None and not hmac.compare_digest(key.thumbprint, bound_jkt):
        raise InvalidProof("wrong_key")
    claims = jws.claims
    if claims.get("htm") != method:
        raise InvalidProof("wrong_method")
    if normalise_uri(_text(claims, "htu", _LONGEST_URI)) not in uris:
        raise InvalidProof("wrong_uri")
    jti, issued_at = _text(claims, "jti", _LONGEST_JTI), claims.get("iat")
    if type(issued_at) is not int:  # isinstance would let true and false through
        raise InvalidProof("bad_claims")
    if access_token is not None:
        _require_made_for(claims, access_token)
    if nonces is not None:
        _require_nonce(claims, nonces)
    if not -AHEAD_MS <= now_ms - issued_at * 1_000 < WINDOW_MS:
        raise InvalidProof("stale")
    taken = hashlib.sha256(f"{key.thumbprint}.{jti}".encode()).digest()
    return Proof(key.thumbprint, jti, jose.encode(taken).encode(), issued_at * 1_000)


def normalise_uri(uri: str) -> str:
    """One spelling for what RFC 3986 calls equivalent. A proof should have no query and no fragment; where it has, they
    take no part (RFC 9449, section 4.3).
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise InvalidProof("wrong_uri")
    scheme, port = found["scheme"].lower(), found["port"]
    shown = "" if port is None or port == _DEFAULT_PORTS[scheme] else f":{port}"
    path = _ESCAPED.sub(_normalise_escape, found["path"] or "/")
    return f"{scheme}://{found['host'].lower()}{shown}{path}"


def token_hash(access_token: str | bytes) -> str:
    raw = access_token.encode() if isinstance(access_token, str) else access_token
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode("ascii")


def _verify(proof: str | bytes, read_head: _ReadHead) -> tuple[jose.Jws, jose.VerificationKey]:
    try:
        segments = jose.split(proof)
        header, key = read_head(segments[0])
        jws = jose.join(segments, header)
        jose.verify(jws, key)
    except jose.MalformedJws:
        raise InvalidProof("malformed") from None
    except jose.BadJwsSignature:
        raise InvalidProof("bad_signature") from None
    return jws, key


def _read_head(segment: bytes) -> _Head:
    """What the head says, and the key that it brings."""
    header = jose.parse_header(segment, allow_jwk=True)
    if header.get("typ") != PROOF_TYPE:
        raise InvalidProof("wrong_type")
    brought = header.get("jwk")
    if not isinstance(brought, dict):
        raise InvalidProof("bad_key")
    try:
        return header, jose.parse_public_jwk(brought)
    except jose.InvalidJwk:
        raise InvalidProof("bad_key") from None


_keep_head = lru_cache(_MOST_HEADS)(_read_head)


def _read_kept_head(segment: bytes) -> _Head:
    return _keep_head(segment) if len(segment) <= _LONGEST_HEAD else _read_head(segment)


def _require_made_for(claims: dict[str, Any], access_token: str | bytes) -> None:
    hashed = _text(claims, "ath", _LONGEST_JTI)
    if not hashed.isascii() or not hmac.compare_digest(hashed, token_hash(access_token)):
        raise InvalidProof("wrong_token")


def _require_nonce(claims: dict[str, Any], nonces: Nonces) -> None:
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not nonces.accepts(nonce):
        raise NonceNeeded


def _text(claims: dict[str, Any], name: str, longest: int) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise InvalidProof("bad_claims")
    return value


def _normalise_escape(escape: re.Match[str]) -> str:
    letter = chr(int(escape[1], 16))
    return letter if letter in _UNRESERVED else escape[0].upper()


def _nonce(key: SecretBytes, window: int) -> str:
    signed = hmac.digest(key.reveal(), b"portreeve dpop nonce %d" % window, "sha256")
    return jose.encode(signed)
