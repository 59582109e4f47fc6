"""Generic cell rate arithmetic in whole microseconds: no clock, no storage, no await.

A bucket is one number, the *theoretical arrival time* (TAT): the moment until which capacity is booked.
Invariant: in any window `w`, the costs that pass add up to at most `burst + rate * w / per`. The emission
interval is rounded up, so a limit that does not divide evenly lets through less, never more.

Refuses to build a limit that could not be kept: nothing per period, a burst of nothing, more than one unit a
microsecond, or a booking so long that the numbers would leave the range a Lua double counts exactly.
"""

from typing import Literal

import msgspec

OutageMode = Literal["refuse", "local"]

# A year of booking added to a Unix time in microseconds stays far below 2**53.
MAX_TOLERANCE_US = 366 * 24 * 3600 * 1_000_000


class InvalidLimit(Exception):
    """A limit, or a cost charged to one, that can't be kept."""


class Limit(msgspec.Struct, frozen=True, gc=False):
    """`rate` units every `per_us`, up to `burst` at once; `outage` says what happens without the store."""

    name: str
    rate: int
    per_us: int
    burst: int
    outage: OutageMode = "refuse"
    # Derived: whatever a caller passes for these two is overwritten.
    emission_us: int = 0
    tolerance_us: int = 0

    def __post_init__(self) -> None:
        if self.rate < 1 or self.per_us < 1 or self.burst < 1:
            raise InvalidLimit("rate, per and burst must be positive")
        if self.rate > self.per_us:
            raise InvalidLimit("rate is more than one unit a microsecond")
        emission_us = -(-self.per_us // self.rate)
        if self.burst * emission_us > MAX_TOLERANCE_US:
            raise InvalidLimit("burst would take more than a year to fill")
        msgspec.structs.force_setattr(self, "emission_us", emission_us)
        msgspec.structs.force_setattr(self, "tolerance_us", self.burst * emission_us)


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one charge came to. A refused charge leaves the bucket as it was, or full where more was booked than it
    holds.
    """

    allowed: bool
    tat_us: int
    remaining: int
    retry_after_us: int
    reset_us: int


def booked_us(tat_us: int | None, now_us: int, limit: Limit) -> int:
    """How far ahead of now the bucket is booked.

    No charge ever books past the tolerance, so more than that means that the clock stepped back or the burst
    was lowered: the bucket then counts as full, not as in debt for as long as the clock was wrong. Whoever keeps the
    bucket has to keep that, or it would be found to be full again and again.
    """
    if tat_us is None or tat_us <= now_us:
        return 0
    return min(tat_us - now_us, limit.tolerance_us)


def room_us(limit: Limit, cost: int) -> int:
    """How much may be booked for `cost` to fit on top of it."""
    return limit.tolerance_us - cost * limit.emission_us


def wait_us(booked: int, limit: Limit, cost: int) -> int:
    """How long until `cost` fits on top of what is booked; 0 when it fits now."""
    return max(0, booked - room_us(limit, cost))


def remaining(booked: int, limit: Limit) -> int:
    return (limit.tolerance_us - booked) // limit.emission_us


def charge(tat_us: int | None, now_us: int, limit: Limit, cost: int) -> int | None:
    """The bucket once `cost`, at least 1, is charged to it; None where it doesn't fit, and nothing is charged."""
    booked_until = now_us if tat_us is None or tat_us <= now_us else tat_us
    charged = booked_until + cost * limit.emission_us
    return charged if charged <= now_us + limit.tolerance_us else None


def admit(tat_us: int | None, now_us: int, limit: Limit, cost: int) -> Verdict:
    """Charge `cost`, or refuse it whole, and tell all there is to tell of it."""
    charged = charge(tat_us, now_us, limit, cost)
    booked = booked_us(tat_us, now_us, limit)
    wait = 0 if charged is not None else wait_us(booked, limit, cost)
    if charged is not None:
        booked = charged - now_us
    return Verdict(
        allowed=charged is not None,
        tat_us=now_us + booked,
        remaining=remaining(booked, limit),
        retry_after_us=wait,
        reset_us=booked,
    )
