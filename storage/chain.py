"""How the entries of the ledger are linked: pure, and small enough for an auditor to write again.

An entry's hash is SHA-256 over a label and the entry in its canonical form: JSON, the members of every object sorted
by the code points of their names, no space, UTF-8 with nothing escaped that need not be, whole numbers alone. Its own
number and the hash of the entry before it are among its members.

Invariant: whoever knows one hash knows every entry up to it; none can be edited, removed, moved or added
without another hash. Refuses to follow from a place to anything but the entry that comes next.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

BEFORE_THE_FIRST: Final = "0" * 64
_LABEL: Final = b"portreeve/audit-entry/1\n"


class Broken(Exception):
    """The first entry at which the ledger is not what it was, and what is wrong with it."""

    def __init__(self, seq: int, problem: str) -> None:
        super().__init__(f"entry {seq}{'' if problem.startswith(',') else ' '}{problem}")
        self.seq = seq
        self.problem = problem


class Place(msgspec.Struct, frozen=True):
    """How far the chain was followed: an entry's number and hash."""

    seq: int = 0
    hash: str = BEFORE_THE_FIRST


START: Final = Place()


def canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def link(entry: Mapping[str, object]) -> str:
    """The hash of an entry, from all its members but the hash itself; `previous` is among them."""
    return hashlib.sha256(_LABEL + canonical(entry)).hexdigest()


def follow(place: Place, entry: Mapping[str, object]) -> Place:
    """One step along the chain, to an entry with all its members, the hash among them."""
    require_next(place, entry.get("seq"))
    following = place.seq + 1
    said = {name: value for name, value in entry.items() if name != "hash"}
    found = link(said)
    if found != entry.get("hash"):
        raise Broken(following, "was altered: it does not have the hash that it carries")
    if said.get("previous") != place.hash:
        raise Broken(following, f"does not follow entry {place.seq}: one of the two was exchanged")
    return Place(following, found)


def require_next(place: Place, seq: object) -> None:
    if type(seq) is not int or seq != place.seq + 1:
        shown = f"entry {seq}" if type(seq) is int else "one without a number"
        raise Broken(place.seq + 1, f"is missing: in its place stands {shown}")
