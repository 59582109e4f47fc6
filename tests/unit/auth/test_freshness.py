"""How old is too old, and what the answer says about it."""

import pytest

from auth import freshness

NOW = 1_763_596_800_123
RULES = freshness.FreshnessRules()


def refuse(at_ms: int, window_ms: int | None = None) -> freshness.StaleTimestamp:
    with pytest.raises(freshness.StaleTimestamp) as refused:
        freshness.check(at_ms, window_ms, NOW, RULES)
    return refused.value


@pytest.mark.parametrize("at_ms", [NOW, NOW - 30_000, NOW + 1_000])
def test_a_timestamp_at_either_end_is_fresh(at_ms: int) -> None:
    """Both ends belong to the window."""
    freshness.check(at_ms, None, NOW, RULES)


@pytest.mark.parametrize(("at_ms", "skew_ms"), [(NOW - 30_001, -30_001), (NOW + 1_001, 1_001)])
def test_one_millisecond_past_either_end_is_stale(at_ms: int, skew_ms: int) -> None:
    """The refusal carries the server's time and how far off the timestamp is."""
    refused = refuse(at_ms)
    assert (refused.server_time, refused.skew_ms) == (NOW, skew_ms)


def test_a_request_may_narrow_its_window() -> None:
    """The narrowed window counts to its end and not one millisecond longer."""
    freshness.check(NOW - 5_000, 5_000, NOW, RULES)
    assert refuse(NOW - 5_001, 5_000).skew_ms == -5_001


def test_a_request_may_not_widen_its_window() -> None:
    """A window over the default, though within the longest, is read as the default."""
    freshness.check(NOW - 30_000, 60_000, NOW, RULES)
    assert refuse(NOW - 30_001, 60_000).skew_ms == -30_001


def test_a_narrowed_window_leaves_the_future_alone() -> None:
    """A window says how far a timestamp may lie back; the future has a bound of its own."""
    freshness.check(NOW + 1_000, 1, NOW, RULES)
    assert refuse(NOW + 1_001, 60_000).skew_ms == 1_001


@pytest.mark.parametrize(
    ("at_ms", "unit"),
    [
        (NOW // 1_000, "seconds"),
        (NOW * 1_000, "microseconds"),
        (NOW * 1_000_000, "nanoseconds"),
        (NOW // 1_000 - 86_400 * 365, "seconds"),
    ],
)
def test_a_wrong_unit_is_named(at_ms: int, unit: str) -> None:
    """Seconds for milliseconds is the commonest mistake, and the hint says so."""
    assert refuse(at_ms).hint == f"The timestamp looks like {unit}; send Unix milliseconds."


@pytest.mark.parametrize(
    ("at_ms", "window_ms", "hint"),
    [
        (NOW + 5_000, None, "5000 ms ahead"),
        (NOW - 45_000, None, "45000 ms behind"),
        (NOW - 45_000, 5_000, "45000 ms behind"),
        (NOW - 86_400_000, None, "86400000 ms behind"),
        (NOW - 6_000, 5_000, "narrowed its own window to 5000 ms"),
        (1, None, f"{NOW - 1} ms behind"),
    ],
)
def test_a_wrong_clock_is_measured(at_ms: int, window_ms: int | None, hint: str) -> None:
    """The hint tells a slow clock from a fast one, and both from a window set too narrow."""
    assert hint in refuse(at_ms, window_ms).hint


@pytest.mark.parametrize(
    "settings",
    [
        {"window_ms": 0},
        {"window_ms": 0, "future_skew_ms": 0},
        {"window_ms": -1},
        {"window_ms": 60_001},
        {"max_window_ms": 60_001},
        {"window_ms": 30_000, "max_window_ms": 29_999},
        {"future_skew_ms": -1},
        {"future_skew_ms": 30_001},
    ],
)
def test_rules_that_would_switch_the_check_off_are_refused(settings: dict[str, int]) -> None:
    """No number means "off": such a configuration does not load."""
    with pytest.raises(ValueError, match="must"):
        freshness.FreshnessRules(**settings)


def test_the_tightest_rules_are_allowed() -> None:
    """One millisecond and no future at all is severe, and sound."""
    tightest = freshness.FreshnessRules(window_ms=1, max_window_ms=1, future_skew_ms=0)
    freshness.check(NOW - 1, None, NOW, tightest)
    with pytest.raises(freshness.StaleTimestamp):
        freshness.check(NOW + 1, None, NOW, tightest)


def test_nothing_signed_before_the_replay_store_began_to_remember_is_fresh() -> None:
    """It may have been accepted by a process that is gone, whose memory was the replay store."""
    rules = freshness.FreshnessRules(remembers_since_ms=NOW - 100)
    with pytest.raises(freshness.StaleTimestamp) as refused:
        freshness.check(NOW - 100, None, NOW, rules)
    assert "sign again" in refused.value.hint
    freshness.check(NOW - 99, None, NOW, rules)
