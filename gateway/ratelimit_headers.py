"""`RateLimit` and `RateLimit-Policy`, the IETF draft's structured fields, and `Retry-After`.

A policy's quota is the burst, and its window the time in which a whole burst grows back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from auth.admission import BucketState
from policies.gcra import Limit

Header = tuple[bytes, bytes]


@lru_cache(maxsize=4096)
def _policy(limit: Limit) -> str:
    window_s = max(1, -(-limit.burst * limit.per_us // (limit.rate * 1_000_000)))
    return f'"{limit.name}";q={limit.burst};w={window_s}'


def _seconds(milliseconds: int) -> int:
    return max(0, -(-milliseconds // 1000))


def state_headers(states: Sequence[BucketState]) -> list[Header]:
    """What passed: every policy, and how much is left of the one nearest to its end."""
    if not states:
        return []
    policies = ", ".join([_policy(state.limit) for state in states])
    least = min(states, key=lambda state: state.remaining)
    left = f'"{least.limit.name}";r={least.remaining};t={_seconds(least.reset_ms)}'
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", left.encode())]


def refusal_headers(limit: Limit, retry_after_ms: int) -> tuple[Header, ...]:
    wait = max(1, _seconds(retry_after_ms))
    return (
        (b"retry-after", b"%d" % wait),
        (b"ratelimit-policy", _policy(limit).encode()),
        (b"ratelimit", f'"{limit.name}";r=0;t={wait}'.encode()),
    )
