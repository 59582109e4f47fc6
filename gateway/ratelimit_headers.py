"""`RateLimit` and `RateLimit-Policy`, the IETF draft's structured fields, and `Retry-After`.

A policy's quota is the burst, and its window the time in which a whole burst grows back.
"""

from __future__ import annotations

from functools import lru_cache
from operator import floordiv, sub

import msgspec

from auth.admission import Admitted, Charges
from gateway.kept import Kept
from policies.gcra import Limit

Header = tuple[bytes, bytes]


@lru_cache(maxsize=4096)
def _policy(limit: Limit) -> str:
    window_s = max(1, -(-limit.burst * limit.per_us // (limit.rate * 1_000_000)))
    return f'"{limit.name}";q={limit.burst};w={window_s}'


class _Written(msgspec.Struct, frozen=True, gc=False):
    """What the limits alone decide of the lines: numbers by limit, and the lines with places where one is nearest."""

    tolerances_us: tuple[int, ...]
    emissions_us: tuple[int, ...]
    lines: tuple[bytes, ...]


@lru_cache(maxsize=4096)
def _write(limits: tuple[Limit, ...]) -> _Written:
    policies = ", ".join(map(_policy, limits)).replace("%", "%%")
    return _Written(
        tuple([limit.tolerance_us for limit in limits]),
        tuple([limit.emission_us for limit in limits]),
        tuple([_lines(policies, limit) for limit in limits]),
    )


def _lines(policies: str, nearest: Limit) -> bytes:
    name = nearest.name.replace("%", "%%")
    return f'ratelimit-policy: {policies}\r\nratelimit: "{name}";r=%d;t=%d\r\n'.encode()


def _write_for(charges: Charges) -> _Written:
    return _write(charges.limits)


# By the charges, which are told apart by identity: limits would have to be compared by all that they are.
_written = Kept(_write_for, is_small=lambda _: True, most=16_384)


def state_lines(passed: Admitted) -> bytes:
    """What passed: every policy, and how much is left of the one nearest to its end."""
    booked_us = passed.booked_us
    if not booked_us:
        return b""
    written = _written[passed.charges]
    # `gcra.remaining` of each.
    left = list(map(floordiv, map(sub, written.tolerances_us, booked_us), written.emissions_us))
    least = min(left)
    nearest = left.index(least)
    return written.lines[nearest] % (least, -(-booked_us[nearest] // 1_000_000))


def refusal_headers(limit: Limit, retry_after_ms: int) -> tuple[Header, ...]:
    wait = max(1, -(-retry_after_ms // 1000))
    return (
        (b"retry-after", b"%d" % wait),
        (b"ratelimit-policy", _policy(limit).encode()),
        (b"ratelimit", f'"{limit.name}";r=0;t={wait}'.encode()),
    )
