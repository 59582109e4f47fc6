"""What an answer tells of limits: each policy, and the state of the one nearest to its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auth.admission import NOTHING_CHARGED, Admitted, Bucket, compile_charges
from gateway.ratelimit_headers import add_state
from policies import gcra
from policies.gcra import Limit

KEY = Limit(name="standard.key", rate=10, per_us=1_000_000, burst=20)
PARTNER = Limit(name="standard.partner", rate=2, per_us=1_000_000, burst=40)


def admitted(*booked_us: int, limits: tuple[Limit, ...] = (KEY, PARTNER)) -> Admitted:
    buckets = tuple(Bucket(str(at), limit, 1) for at, limit in enumerate(limits))
    return Admitted(compile_charges("acme", buckets), list(booked_us))


def test_every_policy_is_told_and_the_state_of_the_nearest() -> None:
    """A window is the time in which a whole burst grows back; a reset is rounded up to a second."""
    policies = b'ratelimit-policy: "standard.key";q=20;w=2, "standard.partner";q=40;w=20\r\n'
    assert add_state(b"", admitted(100_000, 500_000)) == (
        policies + b'ratelimit: "standard.key";r=19;t=1\r\n'
    )
    assert add_state(b"", admitted(100_000, 15_000_001)) == (
        policies + b'ratelimit: "standard.partner";r=9;t=16\r\n'
    )


def test_nothing_is_told_where_nothing_is_limited() -> None:
    """A public route without limits."""
    assert add_state(b"", NOTHING_CHARGED) == b""


def test_a_name_is_written_as_it_is() -> None:
    """Whatever stands in it is no place for a number."""
    odd = Limit(name="100%d", rate=1, per_us=1_000_000, burst=1)
    assert add_state(b"", admitted(0, limits=(odd,))) == (
        b'ratelimit-policy: "100%d";q=1;w=1\r\nratelimit: "100%d";r=1;t=0\r\n'
    )


@given(st.integers(0, KEY.tolerance_us), st.integers(0, PARTNER.tolerance_us))
def test_what_remains_is_what_the_limits_arithmetic_says(key_us: int, partner_us: int) -> None:
    """The least of all, and the first of equals."""
    left = [gcra.remaining(key_us, KEY), gcra.remaining(partner_us, PARTNER)]
    nearest, booked_us = (PARTNER, partner_us) if left[1] < left[0] else (KEY, key_us)
    state = f'ratelimit: "{nearest.name}";r={min(left)};t={-(-booked_us // 1_000_000)}\r\n'
    assert add_state(b"", admitted(key_us, partner_us)).endswith(state.encode())
