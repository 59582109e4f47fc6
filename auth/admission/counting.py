"""From what is booked in each bucket to the refusal: pure, and the same whichever store keeps the numbers."""

from collections.abc import Sequence

from auth.admission import Admitted, Charges, RateLimited
from policies import gcra


def limited(charges: Charges, booked_us: Sequence[int]) -> RateLimited:
    """What is booked is without the charge.

    It names the limit that takes longest: trying again after any shorter time would be refused once more.
    """
    limits = charges.tariff.limits
    waits = list(map(gcra.wait_us, booked_us, limits, charges.tariff.costs))
    longest = max(waits)
    limit = limits[waits.index(longest)]
    return RateLimited(limit, -(-longest // 1000), Admitted(charges, list(booked_us)).buckets)
