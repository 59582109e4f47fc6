"""Points in time on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import moments

NOW_MS = 1_763_596_800_123
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("30s", NOW_MS + 30_000),
        ("15m", NOW_MS + 900_000),
        ("12h", NOW_MS + DAY_MS // 2),
        ("90d", NOW_MS + 90 * DAY_MS),
        ("4w", NOW_MS + 28 * DAY_MS),
        ("2025-11-20T00:00:00Z", 1_763_596_800_000),
        ("2025-11-20T01:00:00.123+01:00", NOW_MS),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_distances_and_rfc_3339_are_read(text: str, moment_ms: int) -> None:
    """A distance counts from now; a time means the same moment everywhere."""
    assert moments.parse_moment(text, NOW_MS) == moment_ms


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "0d", "-1d", "1y", "1.5h", "90 d", "90d\n", "9999999999w", "999999999w", "tomorrow"],
)
def test_anything_else_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(moments.UnreadableMoment):
        moments.parse_moment(text, NOW_MS)


@pytest.mark.parametrize("text", ["2025-11-20", "2025-11-20T00:00:00"])
def test_a_time_without_an_offset_is_refused(text: str) -> None:
    """It would be another moment on another machine."""
    with pytest.raises(moments.UnreadableMoment, match="offset"):
        moments.parse_moment(text, NOW_MS)


@given(st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999))
def test_what_is_shown_reads_back(moment_ms: int) -> None:
    """Output is input."""
    shown = moments.show(moment_ms)
    assert shown is not None
    assert moments.parse_moment(shown, NOW_MS) == moment_ms


def test_no_moment_is_shown_as_none() -> None:
    """A key that doesn't expire has no expiry to show."""
    assert moments.show(None) is None
