"""Limits as a configuration file writes them: `{rate = 50, per = "1s", burst = 100, outage = "refuse"}`.

Refuses a period that is not one whole number and one of the units below, and everything `gcra` refuses.
"""

import re

import msgspec

from policies import gcra

_UNITS_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_PERIOD = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h)", re.ASCII)


class LimitSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rate: int
    per: str
    burst: int
    outage: gcra.OutageMode = "refuse"


def parse_period_us(text: str) -> int:
    """Read `"250ms"`, `"1s"`, `"1m"` or `"1h"`; one spelling, no signs, no fractions, no spaces."""
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise gcra.InvalidLimit(f'\'{text}\' is no period such as "1s", "250ms", "1m" or "1h"')
    return int(match[1]) * _UNITS_US[match[2]]


def build(name: str, spec: LimitSpec) -> gcra.Limit:
    """Make the limit a spec describes; raises `gcra.InvalidLimit`."""
    return gcra.Limit(
        name=name,
        rate=spec.rate,
        per_us=parse_period_us(spec.per),
        burst=spec.burst,
        outage=spec.outage,
    )
