"""What was worked out before, kept by what it was worked out from.

For what strangers choose, such as a target or the names of a head. Invariant: bounded in number, and nothing is kept
that is not small, so that nobody fills memory by asking for what was never asked for before. What raises is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(dict[Key, Value]):
    """`kept[key]` finds the value, or makes it. A dictionary, because then finding it is no call of a function."""

    def __init__(self, make: Callable[[Key], Value], *, is_small: Callable[[Key], bool], most: int) -> None:
        super().__init__()
        self._make = make
        self._is_small = is_small
        self._most = most

    def __missing__(self, key: Key) -> Value:
        value = self._make(key)
        if self._is_small(key):
            if len(self) >= self._most:
                # The oldest goes, in use or not: to tell, each finding would have to be noted. It is made anew then.
                del self[next(iter(self))]
            self[key] = value
        return value
