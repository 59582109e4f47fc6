"""Merkle trees as RFC 9162 has them: pure, over entries that are bytes.

A leaf is SHA-256 of 0x00 and the entry, a node SHA-256 of 0x01 and its two children, so that neither passes for the
other. `Peaks` is the right edge of a tree: all that is needed to go on from there, whatever lies behind it.

Invariant: two different lists of entries have different roots, and whoever holds a root can be shown that an entry is
among them, or that a longer list begins with them. A proof that shows neither is refused by raising; so is one with
anything to spare, because then there would be two proofs of one thing.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class ProofRefused(Exception):
    """The proof does not show what it was given for."""


class Peaks(msgspec.Struct, frozen=True):
    """The roots of the full subtrees that a list of `size` entries falls into, the largest first."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def add(self, entry: bytes) -> "Peaks":
        roots, added, size = list(self.roots), leaf(entry), self.size
        # Each bit that is set is a subtree, and adding one entry carries just as adding one to the number does.
        while size & 1:
            added = node(roots.pop(), added)
            size >>= 1
        return Peaks(self.size + 1, (*roots, added))

    def root(self) -> bytes:
        if not self.roots:
            return EMPTY_ROOT
        *larger, root = self.roots
        for peak in reversed(larger):
            root = node(peak, root)
        return root

    def is_whole(self) -> bool:
        """Whether there are as many subtrees as the size has. Which ones they are, only the root tells."""
        return len(self.roots) == self.size.bit_count()


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(entries: Sequence[bytes]) -> bytes:
    peaks = Peaks()
    for entry in entries:
        peaks = peaks.add(entry)
    return peaks.root()


def prove_inclusion(entries: Sequence[bytes], index: int) -> list[bytes]:
    """What, beside the entry itself, the root is made of; the nearest first."""
    if not 0 <= index < len(entries):
        raise ValueError("there is no such entry")
    if len(entries) == 1:
        return []
    split = _split(len(entries))
    if index < split:
        return [*prove_inclusion(entries[:split], index), root(entries[split:])]
    return [*prove_inclusion(entries[split:], index - split), root(entries[:split])]


def require_included(entry: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> None:
    if not 0 <= index < size:
        raise ProofRefused("there is no such entry in a list of this length")
    place, last, found = index, size - 1, leaf(entry)
    for sibling in proof:
        if last == 0:
            raise ProofRefused("the proof is too long")
        if place & 1 or place == last:
            found = node(sibling, found)
            place, last = _up_from_the_right(place, last)
        else:
            found = node(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or found != expected:
        raise ProofRefused("the entry is not shown to be under this root")


def prove_consistency(entries: Sequence[bytes], earlier: int) -> list[bytes]:
    """That the first `earlier` of the entries were the whole list once."""
    if not 0 < earlier <= len(entries):
        raise ValueError("there is nothing to show of such a length")
    return _prove_part(entries, earlier, known=True)


def _prove_part(entries: Sequence[bytes], earlier: int, *, known: bool) -> list[bytes]:
    """`known`: the whole earlier list is this subtree, so whoever asks has its root already."""
    if earlier == len(entries):
        return [] if known else [root(entries)]
    split = _split(len(entries))
    if earlier <= split:
        return [*_prove_part(entries[:split], earlier, known=known), root(entries[split:])]
    return [*_prove_part(entries[split:], earlier - split, known=False), root(entries[:split])]


def require_consistent(
    earlier: int, earlier_root: bytes, size: int, size_root: bytes, proof: Sequence[bytes]
) -> None:
    """That the list of `size` entries begins with the `earlier` ones, and changed none of them."""
    if not 0 < earlier <= size:
        raise ProofRefused("a list cannot begin with one that is longer, or be compared with none")
    if earlier == size:
        if proof or earlier_root != size_root:
            raise ProofRefused("lists of one length are one list, and that takes no proof")
        return
    # A full subtree of the earlier list is its own first step.
    steps = [earlier_root, *proof] if earlier & (earlier - 1) == 0 else proof
    if not steps or _walk(earlier, size, steps) != (earlier_root, size_root):
        raise ProofRefused("the later list is not shown to begin with the earlier one")


def _walk(earlier: int, size: int, steps: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two roots that the steps lead to."""
    place, last = earlier - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            raise ProofRefused("the proof is too long")
        if place & 1 or place == last:
            before, after = node(sibling, before), node(sibling, after)
            place, last = _up_from_the_right(place, last)
        else:
            after = node(after, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ProofRefused("the proof is too short")
    return before, after


def _up_from_the_right(place: int, last: int) -> tuple[int, int]:
    """Where the last subtree has no neighbour on a level it rises without one."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _split(size: int) -> int:
    """The largest power of two that is smaller."""
    return 1 << (size - 1).bit_length() - 1
