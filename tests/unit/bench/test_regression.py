"""The check on ratios: what it lets pass, what it tells, and what it does not compare."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest

import compiled
from bench import regression
from bench.regression import Baselines, Cost, Measured, regressions
from tests.support.compiled import ROOT

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


def test_each_way_of_running_has_a_baseline() -> None:
    """Compiled and interpreted are other work; neither is measured by the other."""
    kept = msgspec.json.decode((ROOT / "bench/baseline.json").read_bytes(), type=Baselines)
    assert kept.compiled.python == kept.interpreted.python
    assert kept.compiled.bytecodes.whole <= kept.interpreted.bytecodes.whole


def test_what_is_accepted_is_the_baseline_of_what_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one stays, and is not compared with."""
    (tmp_path / "baseline.json").write_bytes(msgspec.json.encode(Baselines(BASELINE, BASELINE)))
    monkeypatch.setattr(regression, "_BASELINE", tmp_path / "baseline.json")
    monkeypatch.setattr(regression, "Ground", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(regression, "measure", lambda *_, **__: measured(bytecodes=1000, yardsticks=1.0))
    monkeypatch.setattr(compiled, "IS_USED", True)
    monkeypatch.setattr("sys.argv", ["regression", "--accept"])
    regression.main()
    kept = msgspec.json.decode((tmp_path / "baseline.json").read_bytes(), type=Baselines)
    assert (kept.compiled.bytecodes.whole, kept.interpreted) == (1000, BASELINE)
    monkeypatch.setattr("sys.argv", ["regression"])
    monkeypatch.setattr(regression, "measure", lambda *_, **__: measured())
    with pytest.raises(SystemExit, match="4000 bytecodes"):
        regression.main()
    monkeypatch.setattr(compiled, "IS_USED", False)
    regression.main()
