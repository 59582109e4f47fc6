"""Lengths of time as people write them: a whole number with its unit, such as `90d`; `0s` is none.

Invariant: what comes out is milliseconds, and a number without a unit is refused.
"""

import re
from typing import Final

_DURATION: Final = re.compile(r"(0|[1-9][0-9]{0,8})(ms|s|m|h|d|w)\Z", re.ASCII)
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
LONGEST_MS: Final = 100 * 365 * _UNIT_MS["d"]


class UnreadableDuration(ValueError):
    pass


def parse(text: str) -> int:
    found = _DURATION.match(text)
    if found is None:
        raise UnreadableDuration(f"{text!r} is not a number with one of ms, s, m, h, d, w, such as 90d")
    length = int(found[1]) * _UNIT_MS[found[2]]
    if length > LONGEST_MS:
        raise UnreadableDuration(f"{text!r} is more than a hundred years")
    return length


def show(length_ms: int) -> str:
    """In the largest unit that says it exactly."""
    for name in ("w", "d", "h", "m", "s"):
        if length_ms and length_ms % _UNIT_MS[name] == 0:
            return f"{length_ms // _UNIT_MS[name]}{name}"
    return f"{length_ms}ms" if length_ms else "0s"
