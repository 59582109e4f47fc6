"""How the entries of the ledger are linked: pure, and small enough for an auditor to write again.

An entry's hash is SHA-256 over a label and the entry as JSON: members sorted by name, no space, UTF-8, its own
number and the hash of the entry before it among them.

Invariant: whoever knows one hash knows every entry up to it; none can be edited, removed, moved or added
without another hash.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

BEFORE_THE_FIRST: Final = "0" * 64
_LABEL: Final = b"portreeve/audit-entry/1\n"


def link(entry: Mapping[str, object]) -> str:
    """The hash of an entry, from all its members but the hash itself; `previous` is among them."""
    return hashlib.sha256(_LABEL + msgspec.json.encode(entry, order="sorted")).hexdigest()
