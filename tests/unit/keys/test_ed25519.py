import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import ed25519

P = 2**255 - 19

# The eight points whose order divides eight, in their canonical encodings, as RFC 7748's curve and RFC 8032's
# encoding give them: one, minus one, the two of order four, the four of order eight.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize("seed", range(12))
def test_real_public_keys_pass(seed: int) -> None:
    """Every key that a library generates is accepted, unchanged."""
    raw = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()
    assert ed25519.validate_public_key(raw) == raw


@pytest.mark.parametrize("encoding", SMALL_ORDER)
def test_points_of_small_order_are_refused(encoding: str) -> None:
    """A point of small order, under which anyone can sign, is no public key."""
    with pytest.raises(ed25519.InvalidPublicKey, match="prime order"):
        ed25519.validate_public_key(bytes.fromhex(encoding))


@pytest.mark.parametrize("encoding", SMALL_ORDER[1:])
def test_points_with_a_small_order_part_are_refused(encoding: str) -> None:
    """A real key moved by a point of small order, on which verifiers may disagree, is refused."""
    raw = Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key().public_bytes_raw()
    moved = ed25519._add(ed25519._decode(raw), ed25519._decode(bytes.fromhex(encoding)))
    inverse = pow(moved.z, -1, P)
    x, y = moved.x * inverse % P, moved.y * inverse % P
    with pytest.raises(ed25519.InvalidPublicKey, match="prime order"):
        ed25519.validate_public_key((y | (x & 1) << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("y", [P, P + 1, 2**255 - 1])
def test_a_second_spelling_is_refused(y: int) -> None:
    """A coordinate beyond the field's size spells a point a second time."""
    with pytest.raises(ed25519.InvalidPublicKey, match="canonical"):
        ed25519.validate_public_key(y.to_bytes(32, "little"))


@pytest.mark.parametrize("y", [1, P - 1])
def test_a_negative_zero_is_refused(y: int) -> None:
    """Where x is zero there is no sign to give."""
    with pytest.raises(ed25519.InvalidPublicKey, match="canonical"):
        ed25519.validate_public_key((y | 1 << 255).to_bytes(32, "little"))


def test_what_is_no_point_is_refused() -> None:
    """Half of all 32-byte strings name no point of the curve."""
    with pytest.raises(ed25519.InvalidPublicKey, match="no point"):
        ed25519.validate_public_key((2).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_another_size_is_refused(size: int) -> None:
    """A public key is 32 bytes."""
    with pytest.raises(ed25519.InvalidPublicKey, match="32 bytes"):
        ed25519.validate_public_key(bytes(size))
