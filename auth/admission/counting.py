"""From what is booked in each bucket to the answer: pure, and the same whichever store keeps the numbers."""

from collections.abc import Sequence

from auth.admission import Admitted, Bucket, BucketState, RateLimited
from policies import gcra


def admitted(buckets: Sequence[Bucket], booked_us: Sequence[int]) -> Admitted:
    """The answer that passes, from what is booked after the charge."""
    return Admitted(_states(buckets, booked_us))


def limited(buckets: Sequence[Bucket], booked_us: Sequence[int]) -> RateLimited:
    """The answer that refuses, from what is booked without the charge.

    It names the limit that takes longest: trying again after any shorter time would be refused once more.
    """
    waits = [
        gcra.wait_us(booked, each.limit, each.cost) for each, booked in zip(buckets, booked_us, strict=True)
    ]
    longest = max(waits)
    limit = buckets[waits.index(longest)].limit
    return RateLimited(limit, _ceil_ms(longest), _states(buckets, booked_us))


def _states(buckets: Sequence[Bucket], booked_us: Sequence[int]) -> tuple[BucketState, ...]:
    return tuple(
        [
            BucketState(each.limit, gcra.remaining(booked, each.limit), _ceil_ms(booked))
            for each, booked in zip(buckets, booked_us, strict=True)
        ]
    )


def _ceil_ms(microseconds: int) -> int:
    return -(-microseconds // 1000)
