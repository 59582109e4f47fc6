"""Published vectors, run through the code that verifies requests."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth import canonical, credential, freshness, signature
from keys import served
from keys.secret import HmacKey
from tests.support import served_keys

VECTORS: Final = Path(__file__).parents[2] / "vectors"
SIGNING: Final[dict[str, Any]] = json.loads((VECTORS / "signing.json").read_text())
RFC_8032: Final[dict[str, Any]] = json.loads((VECTORS / "rfc8032-ed25519.json").read_text())
RFC_4231: Final[dict[str, Any]] = json.loads((VECTORS / "rfc4231-hmac-sha256.json").read_text())


def by_name(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def verify(key: served.ServedKey, raw: bytes, message: bytes, now_ms: int = 0) -> signature.VerifiedKey:
    authenticator = signature.SignatureAuthenticator({key.id: key}.get, entropy=bytes)
    claimed = credential.SignedCredential(key.id, key.id.encode(), b"0", 0, None, b"k3J9s0Qe7Lx2Vb5N", raw)
    return authenticator.verify(claimed, message, now_ms)


def hmac_key(secret: bytes) -> served.ServedKey:
    return served_keys.make_hmac_key(versions=(served_keys.make_hmac_version(secret=HmacKey(secret)),))


def ed25519_key(public_key_hex: str) -> served.ServedKey:
    public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key_hex))
    return served_keys.make_ed25519_key(versions=(served_keys.make_ed25519_version(public_key=public_key),))


def signing_key(vector: dict[str, Any]) -> served.ServedKey:
    if vector["algorithm"] == "hmac-sha256":
        return hmac_key(SIGNING["hmac_secret"].encode())
    return ed25519_key(SIGNING["ed25519_public_key_hex"])


def build(vector: dict[str, Any]) -> bytes:
    path, _, query = vector["target"].encode().partition(b"?")
    return canonical.string_to_sign(
        vector["timestamp"].encode(),
        vector["nonce"].encode(),
        vector["key_id"].encode(),
        vector["method"].encode(),
        path,
        query,
        hashlib.sha256(bytes.fromhex(vector["body_hex"])).hexdigest().encode(),
    )


@pytest.mark.parametrize("vector", SIGNING["vectors"], ids=by_name)
def test_the_string_to_sign_is_the_published_one(vector: dict[str, Any]) -> None:
    """Byte for byte, from the parts of the request."""
    assert build(vector) == vector["canonical"].encode()


@pytest.mark.parametrize("vector", SIGNING["vectors"], ids=by_name)
def test_a_published_request_verifies(vector: dict[str, Any]) -> None:
    """Its headers parse, its time is fresh, and its signature is right under the published key."""
    # The key ids of the vectors end in a word and not in a checksum, so another id takes their place here.
    stamp, nonce, signed = (vector[name].encode() for name in ("timestamp", "nonce", "signature"))
    parsed = credential.parse((served_keys.HMAC_KEY_ID.encode(), stamp, nonce, signed))
    freshness.check(parsed.at_ms, parsed.window_ms, parsed.at_ms, freshness.FreshnessRules())
    assert verify(signing_key(vector), parsed.signature, build(vector)).version == 1


@pytest.mark.parametrize("vector", SIGNING["vectors"], ids=by_name)
def test_a_published_signature_fits_no_other_string(vector: dict[str, Any]) -> None:
    """One byte less at the end, and it is another request."""
    with pytest.raises(signature.BadSignature):
        verify(signing_key(vector), bytes.fromhex(vector["signature"]), build(vector)[:-1])


def test_the_published_seed_makes_the_published_public_key() -> None:
    """Whoever tests a client against the seed tests against the same key."""
    seed = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SIGNING["ed25519_seed_hex"]))
    assert seed.public_key().public_bytes_raw().hex() == SIGNING["ed25519_public_key_hex"]


@pytest.mark.parametrize("vector", RFC_8032["vectors"], ids=by_name)
def test_rfc_8032_signatures_verify(vector: dict[str, Any]) -> None:
    """All of section 7.1 for Ed25519, and none of them over a longer message."""
    key, raw = ed25519_key(vector["public_key_hex"]), bytes.fromhex(vector["signature_hex"])
    message = bytes.fromhex(vector["message_hex"])
    assert verify(key, raw, message).version == 1
    with pytest.raises(signature.BadSignature):
        verify(key, raw, message + b"\x00")


ORDER: Final = 2**252 + 27_742_317_777_372_353_535_851_937_790_883_648_493


@pytest.mark.parametrize("vector", RFC_8032["vectors"], ids=by_name)
def test_a_signature_with_a_larger_scalar_is_refused(vector: dict[str, Any]) -> None:
    """S plus the group's order satisfies the equation: RFC 8032 forbids it, or each signature had a twin."""
    raw = bytes.fromhex(vector["signature_hex"])
    twin = raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")
    with pytest.raises(signature.BadSignature):
        verify(ed25519_key(vector["public_key_hex"]), twin, bytes.fromhex(vector["message_hex"]))


@pytest.mark.parametrize(
    "vector", [vector for vector in RFC_4231["vectors"] if not vector["truncated"]], ids=by_name
)
def test_rfc_4231_codes_verify(vector: dict[str, Any]) -> None:
    """Short keys, long keys and long messages, and none of them over a longer message."""
    key, raw = hmac_key(bytes.fromhex(vector["key_hex"])), bytes.fromhex(vector["signature_hex"])
    message = bytes.fromhex(vector["message_hex"])
    assert verify(key, raw, message).version == 1
    with pytest.raises(signature.BadSignature):
        verify(key, raw, message + b"\x00")


def test_the_truncated_rfc_4231_code_is_refused() -> None:
    """Right as far as it goes, and 128 bits are not enough."""
    (vector,) = [vector for vector in RFC_4231["vectors"] if vector["truncated"]]
    with pytest.raises(signature.BadSignature):
        verify(
            hmac_key(bytes.fromhex(vector["key_hex"])),
            bytes.fromhex(vector["signature_hex"]),
            bytes.fromhex(vector["message_hex"]),
        )
