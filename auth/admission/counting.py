"""From what is booked in each bucket to the refusal: pure, and the same whichever store keeps the numbers."""

from collections.abc import Sequence
from operator import sub

from auth.admission import Admitted, Charges, RateLimited


def limited(charges: Charges, booked_us: Sequence[int]) -> RateLimited:
    """What is booked is without the charge.

    It names the limit that takes longest: trying again after any shorter time would be refused once more.
    """
    # `gcra.wait_us` of each, but below nothing where it fits: a flood of refusals comes by here.
    waits = list(map(sub, booked_us, charges.tariff.rooms_us))
    longest = max(waits)
    limit = charges.tariff.limits[waits.index(longest)]
    return RateLimited(limit, max(0, -(-longest // 1000)), Admitted(charges, list(booked_us)))
