import pytest

from policies import limits
from policies.gcra import InvalidLimit, Limit
from policies.limits import LimitSpec


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [("250ms", 250_000), ("1s", 1_000_000), ("2m", 120_000_000), ("1h", 3_600_000_000)],
)
def test_a_period_is_a_whole_number_and_a_unit(text: str, microseconds: int) -> None:
    """The four units."""
    assert limits.parse_period_us(text) == microseconds


@pytest.mark.parametrize(
    "text", ["", "s", "1", "0s", "01s", "1.5s", "-1s", " 1s", "1s ", "1s\n", "1d", "1S", "٣s", "9999999999s"]
)
def test_any_other_spelling_of_a_period_is_refused(text: str) -> None:
    """One value, one spelling."""
    with pytest.raises(InvalidLimit):
        limits.parse_period_us(text)


def test_a_spec_becomes_the_limit_it_describes() -> None:
    """Name and numbers arrive unchanged."""
    spec = LimitSpec(rate=20, per="1s", burst=40, outage="local")
    assert limits.build("orders-write", spec) == Limit("orders-write", 20, 1_000_000, 40, "local")
