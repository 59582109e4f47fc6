"""Whether a request was made just now.

Invariant: `check` returns only for a timestamp at most `future_skew_ms` ahead of this node's clock and at
most one window behind it, both ends included. A request may narrow the window and never widen it: the
effective window is the smaller of the one asked for and `rules.window_ms`.
Nothing passes that was signed before the replay store began to remember.
Refuses: everything else, with how far off the clock is and, where the unit looks wrong, which unit it is.
"""

from typing import Final

import msgspec

# What to multiply the timestamp and the server's time by to compare them in each unit.
_UNITS: Final = (("seconds", 1_000, 1), ("microseconds", 1, 1_000), ("nanoseconds", 1, 1_000_000))


class FreshnessRules(msgspec.Struct, frozen=True):
    """A window of zero would refuse everybody, and a negative one reads like "off": both are errors."""

    window_ms: int = 30_000
    max_window_ms: int = 60_000
    future_skew_ms: int = 1_000
    # What was signed up to here may have been accepted by a replay store that is gone.
    remembers_since_ms: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.window_ms <= self.max_window_ms <= 60_000:  # noqa: PLR2004  the contract's ceiling
            raise ValueError("windows must satisfy 1 <= window_ms <= max_window_ms <= 60000")
        if not 0 <= self.future_skew_ms <= self.window_ms:
            raise ValueError("future_skew_ms must lie between 0 and window_ms")


class StaleTimestamp(Exception):
    """`skew_ms` is the timestamp minus the server's time: negative when it lies in the past."""

    def __init__(self, server_time: int, skew_ms: int, hint: str) -> None:
        super().__init__("The timestamp is outside the accepted window.")
        self.server_time = server_time
        self.skew_ms = skew_ms
        self.hint = hint


def check(at_ms: int, window_ms: int | None, now_ms: int, rules: FreshnessRules) -> None:
    accepted_ms = rules.window_ms
    if window_ms is not None and window_ms < accepted_ms:
        accepted_ms = window_ms
    skew_ms = at_ms - now_ms
    if not -accepted_ms <= skew_ms <= rules.future_skew_ms:
        raise StaleTimestamp(now_ms, skew_ms, _hint(at_ms, now_ms, accepted_ms, rules))
    if at_ms <= rules.remembers_since_ms:
        raise StaleTimestamp(now_ms, skew_ms, "The gateway has restarted since this was signed; sign again.")


def _hint(at_ms: int, now_ms: int, accepted_ms: int, rules: FreshnessRules) -> str:
    unit = _wrong_unit(at_ms, now_ms)
    if unit is not None:
        return f"The timestamp looks like {unit}; send Unix milliseconds."
    if at_ms > now_ms:
        return f"The timestamp is {at_ms - now_ms} ms ahead of the server; set the clock (NTP)."
    if now_ms - at_ms <= rules.window_ms:
        return f"The request narrowed its own window to {accepted_ms} ms and took longer than that to arrive."
    return (
        f"The timestamp is {now_ms - at_ms} ms behind the server, and {accepted_ms} ms are accepted; "
        "set the clock (NTP), and sign a request just before it is sent."
    )


def _wrong_unit(at_ms: int, now_ms: int) -> str | None:
    for unit, timestamp_factor, server_factor in _UNITS:
        if _about_equal(at_ms * timestamp_factor, now_ms * server_factor):
            return unit
    return None


def _about_equal(left: int, right: int) -> bool:
    """Within a factor of two: units lie a factor of a thousand apart, clocks never a factor of two."""
    return left < right * 2 and right < left * 2
