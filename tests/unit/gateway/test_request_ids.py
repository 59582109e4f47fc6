"""Ids of requests: of one form, and never the same twice."""

from __future__ import annotations

import re
from itertools import islice

from gateway.request_ids import request_ids


def test_they_are_128_bits_in_hex_and_never_repeat() -> None:
    """Across what is drawn at once, and between two that draw."""
    one, other = (list(islice(request_ids(), 1_000)) for _ in range(2))
    assert len({*one, *other}) == 2_000
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in one)
    assert all(len({each[place] for each in one}) == 16 for place in range(32))
