"""The compiled room: the functions of bytes and numbers that a request needs most, for where there is a C compiler.

Invariant: what is here may decline, and never refuses. Each piece knows the ordinary case alone, has a twin in Python
in the room that uses it, and leaves to that twin whatever is in any doubt, untouched. So who passes and who is refused
is decided in one place, and the gateway does the same with this room and without it. It knows no other room.

All of it is used or none: `IS_USED`, and if not, `WHY_NOT`. What was built from other sources than lie here is not
used.
"""

import os
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

MODULES: Final = ("answers", "claims", "heads", "lane", "laps", "script")
# Set to "off", everything runs interpreted.
SWITCH: Final = "PORTREEVE_COMPILED"

_ROOM: Final = Path(__file__).parent


def fingerprint() -> str:
    """Of the sources, and of what can load what is built of them."""
    sources = sorted([*_ROOM.glob("*.pyx"), *_ROOM.glob("*.pxd")])
    digest = sha256(EXTENSION_SUFFIXES[0].encode())
    for source in sources:
        digest.update(sha256(source.read_bytes()).digest())
    return digest.hexdigest()


def stamp() -> Path:
    """Where a build says what it was built from."""
    return _ROOM / f"built{EXTENSION_SUFFIXES[0]}.txt"


def _why_not() -> str:
    if os.environ.get(SWITCH) == "off":
        return "turned off"
    if not stamp().exists():
        return "not built"
    if stamp().read_text(encoding="ascii") != fingerprint():
        return "built from other sources"
    return ""


WHY_NOT: Final = _why_not()
IS_USED: Final = not WHY_NOT
