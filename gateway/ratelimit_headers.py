"""`RateLimit` and `RateLimit-Policy`, the IETF draft's structured fields, and `Retry-After`.

A policy's quota is the burst, and its window the time in which a whole burst grows back.
"""

from __future__ import annotations

from functools import lru_cache
from operator import floordiv, sub

import msgspec

import compiled
from auth.admission import Admitted, Tariff
from gateway.kept import Kept
from policies.gcra import Limit

if compiled.IS_USED:
    from compiled.answers import StateWriter

Header = tuple[bytes, bytes]


@lru_cache(maxsize=4096)
def _policy(limit: Limit) -> str:
    window_s = max(1, -(-limit.burst * limit.per_us // (limit.rate * 1_000_000)))
    return f'"{limit.name}";q={limit.burst};w={window_s}'


class _Written(msgspec.Struct, frozen=True, gc=False):
    """What the limits alone decide of the lines: numbers by limit, and how the lines begin where one is nearest."""

    tolerances_us: tuple[int, ...]
    emissions_us: tuple[int, ...]
    openings: tuple[bytes, ...]

    def add(self, lines: bytes, booked_us: list[int]) -> bytes:
        # `gcra.remaining` of each.
        left = list(map(floordiv, map(sub, self.tolerances_us, booked_us), self.emissions_us))
        least = min(left)
        nearest = left.index(least)
        reset_s = -(-booked_us[nearest] // 1_000_000)
        return b"%b%b%d;t=%d\r\n" % (lines, self.openings[nearest], least, reset_s)


@lru_cache(maxsize=4096)
def _write(limits: tuple[Limit, ...]) -> _Written:
    policies = ", ".join(map(_policy, limits))
    return _Written(
        tuple([limit.tolerance_us for limit in limits]),
        tuple([limit.emission_us for limit in limits]),
        tuple([_opening(policies, limit) for limit in limits]),
    )


def _opening(policies: str, nearest: Limit) -> bytes:
    return f'ratelimit-policy: {policies}\r\nratelimit: "{nearest.name}";r='.encode()


def _write_for(tariff: Tariff) -> _Written:
    return _write(tariff.limits)


# By the tariff, which is told apart by identity: limits would have to be compared by all that they are. Few are needed
# at a time, because all who pay alike have one.
_written = Kept(_write_for, is_small=lambda _: True, most=4_096)


def _writer_for(tariff: Tariff) -> StateWriter:
    written = _written[tariff]
    return StateWriter(written.tolerances_us, written.emissions_us, written.openings)


_writers = Kept(_writer_for, is_small=lambda _: True, most=4_096)


def add_state_interpreted(lines: bytes, passed: Admitted) -> bytes:
    """Behind the lines, of what passed: every policy, and how much is left of the one nearest to its end."""
    booked_us = passed.booked_us
    return _written[passed.charges.tariff].add(lines, booked_us) if booked_us else lines


def _add_state_compiled(lines: bytes, passed: Admitted) -> bytes:
    added = _writers[passed.charges.tariff].add(lines, passed.booked_us)
    return added if added is not None else add_state_interpreted(lines, passed)


add_state = _add_state_compiled if compiled.IS_USED else add_state_interpreted


@lru_cache(maxsize=4096)
def _refusing(limit: Limit) -> tuple[Header, bytes]:
    """What is the same each time that a limit refuses: its policy, and how the line of its state begins."""
    return (b"ratelimit-policy", _policy(limit).encode()), f'"{limit.name}";r=0;t='.encode()


def refusal_headers(limit: Limit, retry_after_ms: int) -> tuple[Header, ...]:
    wait_s = b"%d" % max(1, -(-retry_after_ms // 1000))
    policy, opening = _refusing(limit)
    return (b"retry-after", wait_s), policy, (b"ratelimit", opening + wait_s)
