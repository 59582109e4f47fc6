"""What an answer tells of limits: each policy, and the state of the one nearest to its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compiled
from auth.admission import NOTHING_CHARGED, Admitted, Bucket, compile_charges
from gateway.ratelimit_headers import add_state, add_state_interpreted
from policies import gcra
from policies.gcra import Limit
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled.answers import StateWriter

KEY = Limit(name="standard.key", rate=10, per_us=1_000_000, burst=20)
PARTNER = Limit(name="standard.partner", rate=2, per_us=1_000_000, burst=40)

# As it runs here, and as it runs where nothing is compiled.
Add = Callable[[bytes, Admitted], bytes]
both = pytest.mark.parametrize("add", [add_state, add_state_interpreted])


def admitted(*booked_us: int, limits: tuple[Limit, ...] = (KEY, PARTNER)) -> Admitted:
    buckets = tuple(Bucket(str(at), limit, 1) for at, limit in enumerate(limits))
    return Admitted(compile_charges("acme", buckets), list(booked_us))


@both
def test_every_policy_is_told_and_the_state_of_the_nearest(add: Add) -> None:
    """A window is the time in which a whole burst grows back; a reset is rounded up to a second."""
    before = b'a: b\r\nratelimit-policy: "standard.key";q=20;w=2, "standard.partner";q=40;w=20\r\n'
    assert add(b"a: b\r\n", admitted(100_000, 500_000)) == before + b'ratelimit: "standard.key";r=19;t=1\r\n'
    assert add(b"a: b\r\n", admitted(100_000, 15_000_001)) == (
        before + b'ratelimit: "standard.partner";r=9;t=16\r\n'
    )


@both
def test_nothing_is_told_where_nothing_is_limited(add: Add) -> None:
    """A public route without limits."""
    assert add(b"a: b\r\n", NOTHING_CHARGED) == b"a: b\r\n"


@both
def test_a_name_is_written_as_it_is(add: Add) -> None:
    """Whatever stands in it is no place for a number."""
    odd = Limit(name="100%d", rate=1, per_us=1_000_000, burst=1)
    assert add(b"", admitted(0, limits=(odd,))) == (
        b'ratelimit-policy: "100%d";q=1;w=1\r\nratelimit: "100%d";r=1;t=0\r\n'
    )


@both
@given(key_us=st.integers(0, KEY.tolerance_us), partner_us=st.integers(0, PARTNER.tolerance_us))
def test_what_remains_is_what_the_limits_arithmetic_says(add: Add, key_us: int, partner_us: int) -> None:
    """The least of all, and the first of equals."""
    left = [gcra.remaining(key_us, KEY), gcra.remaining(partner_us, PARTNER)]
    nearest, booked_us = (PARTNER, partner_us) if left[1] < left[0] else (KEY, key_us)
    state = f'ratelimit: "{nearest.name}";r={min(left)};t={-(-booked_us // 1_000_000)}\r\n'
    assert add(b"", admitted(key_us, partner_us)).endswith(state.encode())


limits = st.builds(
    Limit,
    name=st.sampled_from(["a", "b", "100%"]),
    rate=st.integers(1, 1_000),
    per_us=st.sampled_from([1_000, 1_000_000, 60_000_000]),
    burst=st.integers(1, 1_000),
)
booked = st.one_of(
    st.integers(0, 10_000_000), st.integers(-(2**70), 2**70), st.sampled_from([0, 2**53, 2**63])
)


@given(st.lists(st.tuples(limits, booked), max_size=4))
def test_whatever_is_booked_is_told_alike(pairs: list[tuple[Limit, int]]) -> None:
    """Also what no store should say: more than all, and less than nothing."""
    passed = admitted(*[each for _, each in pairs], limits=tuple(limit for limit, _ in pairs))
    assert add_state(b"a: b\r\n", passed) == add_state_interpreted(b"a: b\r\n", passed)


@needs_the_room
def test_a_state_in_doubt_is_left_to_others() -> None:
    """What cannot be, and what one number is too small for."""
    writer = StateWriter((100, 300), (10, 10), (b"x;r=", b"y;r="))
    assert writer.add(b"", [0, 0]) == b"x;r=10;t=0\r\n"
    assert writer.add(b"", [100, 201]) == b"x;r=0;t=1\r\n"
    assert writer.add(b"", [0, 201]) == b"y;r=9;t=1\r\n"
    assert writer.add(b"", [0, 200]) == b"x;r=10;t=0\r\n"
    for doubtful in ([101, 0], [0, -1], [2**63, 0], [0, -(2**64)], [0], [0, 0, 0], [], [True, 0]):
        assert writer.add(b"", doubtful) is None
    assert StateWriter((2**54,), (10,), (b"x",)).add(b"", [0]) is None
    assert StateWriter((100,), (0,), (b"x",)).add(b"", [0]) is None
    with pytest.raises(ValueError, match="as many of each"):
        StateWriter((1,), (1, 1), (b"x",))
