"""The compiled room: what a request does most, for where there is a C compiler. Functions of bytes and numbers, and how
a request goes on after a wait.

Invariant: what is here may decline, and never refuses. Each piece knows the ordinary case alone, has a twin in Python
in the room that uses it, and leaves to that twin whatever is in any doubt, untouched. So who passes and who is refused
is decided in one place, and the gateway does the same with this room and without it. It knows no other room.

All of it is used or none: `IS_USED`, and if not, `WHY_NOT`. What was built from other sources than lie here is not
used, nor what is not whole, nor what does not load.
"""

import os
from collections.abc import Iterable
from hashlib import sha256
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

MODULES: Final = (
    "answers",
    "claims",
    "exchanges",
    "heads",
    "lane",
    "laps",
    "lines",
    "outbound",
    "script",
    "steps",
    "sums",
)
# Set to "off", everything runs interpreted.
SWITCH: Final = "PORTREEVE_COMPILED"

TURNED_OFF: Final = "turned off"

_ROOM: Final = Path(__file__).parent


def fingerprint() -> str:
    """Of the sources, of how they are built, and of what can load that."""
    sources = [*_ROOM.glob("*.pyx"), *_ROOM.glob("*.pxd"), _ROOM / "build.py"]
    return f"{EXTENSION_SUFFIXES[0]} {_digest(sources)}"


def stamp() -> Path:
    """Where a build says what it was built from, and what came of it."""
    return _ROOM / f"built{EXTENSION_SUFFIXES[0]}.txt"


def libraries(at: Path = _ROOM) -> list[Path]:
    """What a whole build leaves, for this interpreter."""
    return [at / f"{name}{EXTENSION_SUFFIXES[0]}" for name in MODULES]


def inscription(built_from: str, at: Path = _ROOM) -> str:
    """What the stamp says of the libraries that lie there. Raises FileNotFoundError where one is missing."""
    return f"{built_from}\n{_digest(libraries(at))}\n"


def _digest(files: Iterable[Path]) -> str:
    digest = sha256()
    for file in sorted(files):
        digest.update(sha256(file.name.encode()).digest() + sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _why_not() -> str:
    if os.environ.get(SWITCH) == "off":
        return TURNED_OFF
    try:
        return _find_fault()
    # Built by another account for itself, say: no reason not to start.
    except (OSError, ImportError) as failure:
        return f"not built whole: {failure}"


def _find_fault() -> str:
    """Loads all of it, unless there is one."""
    try:
        told = stamp().read_bytes()
    except FileNotFoundError:
        return "not built"
    built_from = fingerprint()
    if told.partition(b"\n")[0] != built_from.encode():
        return "built from other sources"
    if told != inscription(built_from).encode():
        return "not built whole"
    for name in MODULES:
        import_module(f"{__name__}.{name}")
    return ""


WHY_NOT: Final = _why_not()
IS_USED: Final = not WHY_NOT


def describe() -> str:
    """For people: whether it is used."""
    return "compiled" if IS_USED else f"interpreted ({WHY_NOT})"
