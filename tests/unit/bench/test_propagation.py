"""The figures of propagation: values that were seen, in milliseconds."""

from __future__ import annotations

from bench import propagation


def test_percentiles_are_values_that_were_seen() -> None:
    """Of 200 trials the p99 is the third highest; the worst is told too."""
    seconds = [number / 1000 for number in range(200, 0, -1)]
    assert propagation.summary(seconds) == {"trials": 200, "p50_ms": 100.5, "p99_ms": 198.0, "max_ms": 200.0}


def test_of_one_trial_everything_is_that_trial() -> None:
    """A quick run has figures as well."""
    assert propagation.summary([0.0123]) == {"trials": 1, "p50_ms": 12.3, "p99_ms": 12.3, "max_ms": 12.3}
