import pytest

from gateway import durations

SEVEN = "\N{ARABIC-INDIC DIGIT SEVEN}d"


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [("0s", 0), ("250ms", 250), ("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000), ("2w", 1_209_600_000)],
)  # fmt: skip
def test_a_length_of_time_has_its_unit(text: str, length_ms: int) -> None:
    """Every unit, and none at all."""
    assert durations.parse(text) == length_ms


@pytest.mark.parametrize(
    "text", ["", "7", "-1d", "1.5h", "07d", "7 d", "7d\n", "d", "\N{ARABIC-INDIC DIGIT SEVEN}d", "999999999w"]
)
def test_what_is_not_one_is_refused(text: str) -> None:
    """Nothing is guessed, not even the unit."""
    with pytest.raises(durations.UnreadableDuration):
        durations.parse(text)


@pytest.mark.parametrize("text", ["0s", "250ms", "90s", "15m", "12h", "6d", "2w"])
def test_a_length_is_shown_as_it_is_written(text: str) -> None:
    """In the largest unit that says it exactly."""
    assert durations.show(durations.parse(text)) == text
