"""`RateLimit` and `RateLimit-Policy`, the IETF draft's structured fields, and `Retry-After`.

A policy's quota is the burst, and its window the time in which a whole burst grows back.
"""

from __future__ import annotations

from functools import lru_cache

from auth.admission import Admitted
from policies import gcra
from policies.gcra import Limit

Header = tuple[bytes, bytes]


@lru_cache(maxsize=4096)
def _policy(limit: Limit) -> str:
    window_s = max(1, -(-limit.burst * limit.per_us // (limit.rate * 1_000_000)))
    return f'"{limit.name}";q={limit.burst};w={window_s}'


@lru_cache(maxsize=4096)
def _policies(limits: tuple[Limit, ...]) -> bytes:
    return f"ratelimit-policy: {', '.join(map(_policy, limits))}\r\n".encode()


def state_lines(passed: Admitted) -> bytes:
    """What passed: every policy, and how much is left of the one nearest to its end."""
    limits, booked_us = passed.charges.limits, passed.booked_us
    if not limits:
        return b""
    left = list(map(gcra.remaining, booked_us, limits))
    least = min(left)
    nearest = left.index(least)
    state = f'"{limits[nearest].name}";r={least};t={-(-booked_us[nearest] // 1_000_000)}'
    return b"%bratelimit: %b\r\n" % (_policies(limits), state.encode())


def refusal_headers(limit: Limit, retry_after_ms: int) -> tuple[Header, ...]:
    wait = max(1, -(-retry_after_ms // 1000))
    return (
        (b"retry-after", b"%d" % wait),
        (b"ratelimit-policy", _policy(limit).encode()),
        (b"ratelimit", f'"{limit.name}";r=0;t={wait}'.encode()),
    )
