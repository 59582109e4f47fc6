"""Lengths of time as people write them: "250ms", "1s", "5m", "1h". Refuses everything else, zero included."""

import re

_DURATION = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h)")
_UNIT_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


class MalformedDuration(ValueError):
    """Not a whole positive number followed by ms, s, m or h."""


def parse_duration_us(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise MalformedDuration('a duration is a whole number and a unit, such as "250ms", "1s", "5m" or "1h"')
    return int(match[1]) * _UNIT_US[match[2]]
