"""The envelope: it opens for the record it was sealed for, and for nothing else."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keys import envelope, framing
from keys.secret import SecretBytes

KEY = SecretBytes(b"k" * 32)
NONCE = bytes(12)
Names = tuple[str, str, int, str]

words = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.tuples(words, words, st.integers(0, 2**63 - 1), words)


def seal(plaintext: bytes, record: Names) -> bytes:
    kind, record_id, version, environment = record
    return envelope.seal(
        KEY,
        plaintext,
        kind=kind,
        record_id=record_id,
        version=version,
        environment=environment,
        nonce=NONCE,
    )


def open_(sealed: bytes, record: Names) -> bytes:
    kind, record_id, version, environment = record
    return envelope.open_(
        KEY, sealed, kind=kind, record_id=record_id, version=version, environment=environment
    )


@given(st.binary(max_size=200), names)
def test_what_is_sealed_opens(plaintext: bytes, record: Names) -> None:
    """Any plaintext comes back under the names it was sealed for."""
    assert open_(seal(plaintext, record), record) == plaintext


@given(names, names)
def test_other_names_refuse(record: Names, other: Names) -> None:
    """No other list of names opens it, however their letters are divided."""
    assume(record != other)
    with pytest.raises(envelope.EnvelopeRefused):
        open_(seal(b"secret", record), other)


@given(st.binary(max_size=40), st.data())
def test_a_changed_bit_refuses(plaintext: bytes, choice: st.DataObject) -> None:
    """Every bit of a ciphertext counts: the marker's, the nonce's, the body's and the tag's."""
    record = ("api-key", "prk_1", 1, "paper")
    sealed = seal(plaintext, record)
    bit = choice.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = (int.from_bytes(sealed) ^ 1 << bit).to_bytes(len(sealed))
    with pytest.raises(envelope.EnvelopeRefused):
        open_(changed, record)


@given(st.integers(0, 40), st.binary(min_size=1, max_size=8))
def test_a_cut_or_longer_ciphertext_refuses(cut: int, more: bytes) -> None:
    """A ciphertext has no loose end."""
    record = ("api-key", "prk_1", 1, "paper")
    sealed = seal(b"a secret of some length", record)
    for changed in (sealed[:cut], sealed + more):
        with pytest.raises(envelope.EnvelopeRefused):
            open_(changed, record)


@given(st.binary(max_size=200))
def test_no_bytes_crash_it(sealed: bytes) -> None:
    """Bytes from anywhere are refused as one failure."""
    with pytest.raises(envelope.EnvelopeRefused):
        open_(sealed, ("api-key", "prk_1", 1, "paper"))


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_framing_is_injective(one: list[bytes], other: list[bytes]) -> None:
    """Two lists of fields are framed alike only if they are the same list."""
    assert (framing.frame(*one) == framing.frame(*other)) == (one == other)
