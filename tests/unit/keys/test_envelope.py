import pytest

from keys import envelope
from keys.secret import SecretBytes

KEY = SecretBytes(bytes(range(32)))
NONCE = b"n" * 12


def seal(plaintext: bytes = b"prs_paper_x") -> bytes:
    return envelope.seal(
        KEY, plaintext, kind="api-key", record_id="prk_1", version=1, environment="paper", nonce=NONCE
    )


def open_(sealed: bytes, **changed: object) -> bytes:
    named: dict[str, object] = {"kind": "api-key", "record_id": "prk_1", "version": 1, "environment": "paper"}
    key = changed.pop("data_key", KEY)
    return envelope.open_(key, sealed, **named | changed)  # type: ignore[arg-type]  # a test varies one name at a time


def test_what_was_sealed_opens() -> None:
    """Sealing and opening under the same names gives the plaintext back."""
    assert open_(seal()) == b"prs_paper_x"


def test_a_ciphertext_begins_with_its_version_marker() -> None:
    """The first byte says which layout follows."""
    assert seal()[:1] == envelope.MARKER == b"\x01"


def test_the_layout_is_pinned() -> None:
    """Stored ciphertexts stay readable: the layout, the label and the derivation do not drift."""
    assert seal().hex() == (
        "016e6e6e6e6e6e6e6e6e6e6e6e360f7889477669289ca9dc758240c2586282d3be411f672d17fac1"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "ring-key"},
        {"record_id": "prk_2"},
        {"version": 2},
        {"environment": "live"},
        {"data_key": SecretBytes(bytes(32))},
        {"kind": "api-keyp", "record_id": "rk_1"},
    ],
    ids="+".join,
)
def test_another_record_refuses(changed: dict[str, object]) -> None:
    """A ciphertext moved to another kind, id, version, environment or data key does not open."""
    with pytest.raises(envelope.EnvelopeRefused):
        open_(seal(), **changed)


@pytest.mark.parametrize("version", [2, 2**40])
def test_the_version_is_authenticated_apart_from_the_key(version: int) -> None:
    """Versions of one record share a derived key, so only the authenticated data keeps them apart."""
    with pytest.raises(envelope.EnvelopeRefused, match=f"version {version}"):
        open_(seal(), version=version)


@pytest.mark.parametrize(
    "sealed", [b"", b"\x01", b"\x01" + bytes(27), b"\x02" + seal()[1:], b"\x00" + seal()]
)
def test_a_ciphertext_of_another_shape_refuses(sealed: bytes) -> None:
    """Empty, cut and foreign bytes are refused as the same failure."""
    with pytest.raises(envelope.EnvelopeRefused):
        open_(sealed)


def test_a_refusal_names_the_record_only() -> None:
    """The error says which record, and nothing of what was in it."""
    with pytest.raises(envelope.EnvelopeRefused) as caught:
        open_(seal()[:-1])
    assert str(caught.value) == "the stored ciphertext of api-key 'prk_1' version 1 does not open"
    assert caught.value.__cause__ is None


def test_records_do_not_share_a_key() -> None:
    """Two records sealed under one data key and one nonce have unrelated ciphertexts."""
    other = envelope.seal(
        KEY, b"prs_paper_x", kind="api-key", record_id="prk_2", version=1, environment="paper", nonce=NONCE
    )
    assert other[13:24] != seal()[13:24]


@pytest.mark.parametrize("size", [0, 11, 16])
def test_a_nonce_of_another_size_is_refused(size: int) -> None:
    """A nonce is twelve bytes."""
    with pytest.raises(ValueError, match="nonce of 12 bytes"):
        envelope.seal(KEY, b"", kind="k", record_id="r", version=1, environment="paper", nonce=bytes(size))


def test_a_data_key_of_another_size_is_refused() -> None:
    """A data key is 32 bytes."""
    with pytest.raises(ValueError, match="data key of 32 bytes"):
        open_(seal(), data_key=SecretBytes(bytes(16)))
