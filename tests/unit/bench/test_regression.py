"""The check on ratios: what it lets pass, what it tells, and what it does not compare."""

from __future__ import annotations

from bench.regression import Cost, Measured, regressions

BASELINE = Measured("3.11", Cost(4000, {"server": 1000, "forward": 3000}), Cost(4.0, {"server": 1.0}))


def measured(
    bytecodes: float = 4000, yardsticks: float = 4.0, python: str = "3.11", forward: float = 3000
) -> Measured:
    stages = {"server": 1000.0, "forward": forward}
    return Measured(python, Cost(bytecodes, stages), Cost(yardsticks, {"server": 1.0}))


def test_what_costs_the_same_or_less_passes() -> None:
    """So does what lies within the noise."""
    assert regressions(measured(), BASELINE) == []
    assert regressions(measured(4050, 4.9), BASELINE) == []
    assert regressions(measured(3000, 3.0), BASELINE) == []


def test_a_dearer_request_is_told_with_the_stage_that_grew() -> None:
    """A regression has an address."""
    (told,) = regressions(measured(4500, forward=3500), BASELINE)
    assert "4500 bytecodes" in told
    assert "grown most: forward by 500" in told


def test_each_measure_is_a_guard_of_its_own() -> None:
    """A slow call into C is no bytecode more."""
    (told,) = regressions(measured(yardsticks=5.5), BASELINE)
    assert "5.5 yardsticks" in told
    assert len(regressions(measured(5000, 6.0), BASELINE)) == 2


def test_bytecodes_of_another_interpreter_are_not_compared() -> None:
    """They are other bytecodes."""
    assert regressions(measured(9000, python="3.13"), BASELINE) == []


def test_what_was_not_measured_is_not_compared() -> None:
    """Bytecodes alone are a check too."""
    assert regressions(Measured("3.11", Cost(4000, {}), None), BASELINE) == []
    assert len(regressions(Measured("3.11", Cost(4500, {}), None), BASELINE)) == 1
