"""Decoding of configuration values that names the place of what is wrong.

Refuses what `msgspec` refuses under `strict`: unknown keys, missing keys, other types; nothing is coerced.
"""

import re
from typing import TypeVar

import msgspec

Decoded = TypeVar("Decoded")
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


class PolicyError(Exception):
    """A policies file that can't be used; the message starts with the place."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


def convert(raw: object, kind: type[Decoded], place: str) -> Decoded:
    """Decode one table, or say where below `place` it went wrong."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _located(str(error), place) from None


def _located(message: str, place: str) -> PolicyError:
    # The decoder states the place at the end of its message; it is moved to the front, and decides nothing.
    found = _PATH.search(message)
    if found is None:
        return PolicyError(place, message)
    path = found["path"]
    joint = "" if path.startswith("[") else "."
    return PolicyError(f"{place}{joint}{path}", message[: found.start()])
