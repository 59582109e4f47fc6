"""The ids of requests: 128 random bits each, drawn many at a time, since asking the system costs more than the bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, repeat
from os import urandom

_BYTES = 16
_AT_ONCE = 64
_split = re.compile(f".{{{2 * _BYTES}}}").findall


def request_ids() -> Iterator[str]:
    """Without end. Made where it is used: two processes that shared one would give the same ids."""
    return chain.from_iterable(map(_draw, repeat(_AT_ONCE)))


def _draw(count: int) -> list[str]:
    return _split(urandom(_BYTES * count).hex())
