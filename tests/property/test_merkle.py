"""Merkle trees: what holds for every list, and that no altered proof shows anything."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import merkle

LISTS = st.lists(st.binary(max_size=4), min_size=1, max_size=70)


def defined_root(entries: list[bytes]) -> bytes:
    """As RFC 9162, 2.1.1, defines it, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    halves = defined_root(entries[:split]) + defined_root(entries[split:])
    return hashlib.sha256(b"\x01" + halves).digest()


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_the_root_is_the_defined_one(entries: list[bytes]) -> None:
    """Gone along from the left it is the same as split from the top."""
    assert merkle.root(entries) == defined_root(entries)


def test_a_root_that_others_computed() -> None:
    """The empty list and the list of one empty entry have the roots that every log of the kind has."""
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root([b""]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@given(LISTS, st.data())
def test_the_peaks_are_enough_to_go_on(entries: list[bytes], draw: st.DataObject) -> None:
    """Whoever kept only the right edge comes to the same root."""
    cut = draw.draw(st.integers(0, len(entries)))
    peaks = merkle.Peaks()
    for entry in entries[:cut]:
        peaks = peaks.add(entry)
    kept = merkle.Peaks(cut, peaks.roots)
    assert kept.is_whole()
    assert kept.root() == merkle.root(entries[:cut])
    for entry in entries[cut:]:
        kept = kept.add(entry)
    assert kept.root() == merkle.root(entries)


@given(LISTS, st.data())
def test_every_entry_is_shown_to_be_there(entries: list[bytes], draw: st.DataObject) -> None:
    """And only where it is, under that root, by the whole proof."""
    index = draw.draw(st.integers(0, len(entries) - 1))
    proof, top = merkle.prove_inclusion(entries, index), merkle.root(entries)
    merkle.require_included(entries[index], index, len(entries), proof, top)
    assert len(proof) <= (len(entries) - 1).bit_length()
    wrong = [
        (entries[index] + b"!", index, len(entries), proof, top),
        (entries[index], index, len(entries), [*proof, b"x" * 32], top),
        (entries[index], index, len(entries), proof, b"x" * 32),
        (entries[index], -1, len(entries), proof, top),
        (entries[index], len(entries), len(entries), proof, top),
    ]
    wrong += [(entries[index], index, len(entries), proof[:-1], top)] if proof else []
    wrong += [(entries[index], index, len(entries), [b"x" * 32, *proof[1:]], top)] if proof else []
    for claim in wrong:
        with pytest.raises(merkle.ProofRefused):
            merkle.require_included(*claim)


@given(LISTS, st.data())
def test_a_longer_list_is_shown_to_begin_with_a_shorter(entries: list[bytes], draw: st.DataObject) -> None:
    """By the whole proof and no other; a list with another beginning cannot be shown to."""
    earlier = draw.draw(st.integers(1, len(entries)))
    proof = merkle.prove_consistency(entries, earlier)
    before, after = merkle.root(entries[:earlier]), merkle.root(entries)
    merkle.require_consistent(earlier, before, len(entries), after, proof)
    changed = merkle.root([entries[0] + b"!", *entries[1:earlier]])
    wrong = [
        (earlier, changed, len(entries), after, proof),
        (earlier, before, len(entries), b"x" * 32, proof),
        (earlier, before, len(entries), after, [*proof, b"x" * 32]),
        (len(entries) + 1, before, len(entries), after, proof),
        (0, before, len(entries), after, proof),
    ]
    wrong += [(earlier, before, len(entries), after, proof[:-1])] if proof else []
    wrong += [(earlier, before, len(entries), after, [b"x" * 32, *proof[1:]])] if proof else []
    for claim in wrong:
        with pytest.raises(merkle.ProofRefused):
            merkle.require_consistent(*claim)


def test_every_pair_of_small_lengths() -> None:
    """All shapes of tree up to 33 entries, each entry and each beginning."""
    entries = [bytes([number]) for number in range(33)]
    for size in range(1, 34):
        part = entries[:size]
        top = merkle.root(part)
        for number in range(size):
            merkle.require_included(part[number], number, size, merkle.prove_inclusion(part, number), top)
            proof = merkle.prove_consistency(part, number + 1)
            merkle.require_consistent(number + 1, merkle.root(part[: number + 1]), size, top, proof)


def test_there_is_no_proof_of_what_is_not_there() -> None:
    """An entry behind the end, and a beginning longer than the list or of no length."""
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match="no such entry"):
            merkle.prove_inclusion([b"a", b"b"], wrong)
    for wrong in (0, 3):
        with pytest.raises(ValueError, match="nothing to show"):
            merkle.prove_consistency([b"a", b"b"], wrong)
