import pytest

from policies import gcra
from policies.gcra import InvalidLimit, Limit

NOW = 1_763_596_800_123_456
TWO_A_SECOND = Limit(name="orders", rate=2, per_us=1_000_000, burst=3)


def test_an_empty_bucket_lets_the_whole_burst_pass_and_not_one_more() -> None:
    """A burst is exactly `burst` units."""
    tat: int | None = None
    for left in (2, 1, 0):
        verdict = gcra.admit(tat, NOW, TWO_A_SECOND, 1)
        assert verdict.allowed
        assert verdict.remaining == left
        tat = verdict.tat_us
    assert not gcra.admit(tat, NOW, TWO_A_SECOND, 1).allowed


def test_a_refused_charge_leaves_the_bucket_as_it_was() -> None:
    """Refusals cost nothing, or hammering would lock a caller out for ever."""
    full = NOW + TWO_A_SECOND.tolerance_us
    assert gcra.admit(full, NOW, TWO_A_SECOND, 1).tat_us == full


def test_retrying_when_told_passes_and_a_microsecond_earlier_does_not() -> None:
    """The wait is exact."""
    full = NOW + TWO_A_SECOND.tolerance_us
    wait = gcra.admit(full, NOW, TWO_A_SECOND, 2).retry_after_us
    assert wait == 1_000_000
    assert not gcra.admit(full, NOW + wait - 1, TWO_A_SECOND, 2).allowed
    assert gcra.admit(full, NOW + wait, TWO_A_SECOND, 2).allowed


def test_a_charge_says_when_the_bucket_will_be_empty_again() -> None:
    """Reset is the time until nothing is booked."""
    verdict = gcra.admit(None, NOW, TWO_A_SECOND, 2)
    assert verdict.reset_us == 1_000_000
    assert gcra.admit(verdict.tat_us, NOW + 1_000_000, TWO_A_SECOND, 3).allowed


def test_a_cost_above_the_burst_never_passes() -> None:
    """Not even an untouched bucket holds it."""
    assert not gcra.admit(None, NOW, TWO_A_SECOND, 4).allowed


def test_an_interval_that_does_not_divide_evenly_is_rounded_up() -> None:
    """Three a second must not become a fraction more than three."""
    assert Limit(name="x", rate=3, per_us=1_000_000, burst=1).emission_us == 333_334


def test_a_clock_that_steps_back_finds_a_full_bucket_and_no_debt() -> None:
    """Sixty seconds back cost one burst, not a minute of refusals."""
    later = gcra.admit(None, NOW, TWO_A_SECOND, 3).tat_us
    back = NOW - 60_000_000
    verdict = gcra.admit(later, back, TWO_A_SECOND, 1)
    assert not verdict.allowed
    assert verdict.retry_after_us == TWO_A_SECOND.emission_us


def test_derived_numbers_can_not_be_passed_in() -> None:
    """A limit's interval always follows from its rate."""
    limit = Limit(name="x", rate=1, per_us=1_000_000, burst=1, emission_us=1, tolerance_us=10**9)
    assert limit == Limit(name="x", rate=1, per_us=1_000_000, burst=1)
    assert (limit.emission_us, limit.tolerance_us) == (1_000_000, 1_000_000)


@pytest.mark.parametrize(
    ("rate", "per_us", "burst"),
    [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1), (2, 1, 1), (1, gcra.MAX_TOLERANCE_US, 2)],
)
def test_a_limit_that_can_not_be_kept_is_refused(rate: int, per_us: int, burst: int) -> None:
    """Nothing, negative, too fine or too long."""
    with pytest.raises(InvalidLimit):
        Limit(name="x", rate=rate, per_us=per_us, burst=burst)
