"""What a run is told as, and what the comparison makes of its rounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import compare, report, scenarios

ROUND = {
    "store_cpu_us": 13.0,
    "cpu_us": 100.0,
    "rps": 5000.4,
    "p50_ms": 4.6,
    "p99_ms": 14.1,
    "p999_ms": 16.4,
    "generator_cpu_us": 4.4,
}
REFUSED = {"claimed": True, "sent": 200, "refused": 200}
ACCEPTED = {"claimed": False, "sent": 200, "refused": 0}
ENVIRONMENT = {
    "date": "2026-11-21 05:20 UTC",
    "command": "python -m bench",
    "cpu": "A processor",
    "cores": 2,
    "memory_gib": 23.6,
    "kernel": "Linux 6.18.44 x86_64",
    "versions": {"python": "3.11.7"},
}


def contender(*costs: float, replayed: dict[str, Any] = REFUSED) -> dict[str, Any]:
    rounds = [{**ROUND, "cpu_us": cost} for cost in costs]
    return {
        **compare.summarise(rounds),
        "rss_mib": 104.4,
        "checked": {"tampered": REFUSED, "replayed": replayed},
    }


def measured() -> dict[str, Any]:
    figures = {
        "envoy-jwt": contender(50, 51, 90, replayed=ACCEPTED),
        compare.YARDSTICK: contender(130, 128, 140),
    }
    shown = {
        "latency": {
            "target": "little is added",
            "met": False,
            "seconds": 10,
            "rates": {"500": {"added": {"nginx-plain": {"p50_ms": 0.1, "p99_ms": 0.2}}}},
            "missing": {"envoy-jwt": "envoy"},
        }
    }
    contenders = compare.with_ratios(figures)
    return report.empty(ENVIRONMENT) | {
        "contenders": contenders,
        "missing": {"nginx-lua": "no module"},
        "scenarios": shown,
    }


def test_a_contender_is_its_median_round_against_the_yardstick() -> None:
    """With the spread, so that nobody takes noise for a difference."""
    ours, theirs = (measured()["contenders"][name] for name in (compare.YARDSTICK, "envoy-jwt"))
    assert (ours["cpu_us"], ours["ratio"], ours["rps_per_core"]) == (130, 1.0, 7692)
    assert (theirs["ratio"], theirs["cpu_us_min"], theirs["cpu_us_max"]) == (0.39, 50, 90)


def test_without_the_yardstick_there_is_no_ratio() -> None:
    """Where no Redis is, the rest is still told."""
    assert compare.with_ratios({"nginx-plain": contender(7)})["nginx-plain"]["ratio"] is None


def test_every_round_begins_with_another_contender() -> None:
    """Nobody is always the first on a machine that has just rested."""
    field: list[Any] = ["a", "b", "c"]
    orders: list[list[Any]] = [[*compare.rotated(field, number)] for number in range(3)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert compare.rotated([], 1) == []


def test_the_json_reads_back(tmp_path: Path) -> None:
    """With the figures that others read from it."""
    report.write_json(measured(), tmp_path / "results" / "latest.json")
    read = json.loads((tmp_path / "results" / "latest.json").read_text())
    assert read["missing"] == {"nginx-lua": "no module"}
    assert {"cpu_us", "rps", "rps_per_core", "p50_ms", "p99_ms", "p999_ms", "rss_mib", "ratio"} <= read[
        "contenders"
    ]["envoy-jwt"].keys()


def test_the_page_keeps_its_own_words(tmp_path: Path) -> None:
    """Written twice, it is the same; what is missing and what accepts replays stands there."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Ours\n\n{report.BEGIN}\nold\n{report.END}\n\nOurs too.\n")
    report.write_docs(measured(), page)
    once = page.read_text()
    report.write_docs(measured(), page)
    assert page.read_text() == once
    assert once.startswith("# Ours\n")
    assert once.endswith("Ours too.\n")
    assert "old" not in once
    assert "missing: nginx-lua: no module" in once
    assert "| refused | accepted |" in once
    assert "**Not met (missing: envoy-jwt).**" in once
    assert all((tmp_path / "images" / name).exists() for name in ("bench-cpu.svg", "bench-added-500.svg"))


@pytest.mark.parametrize("text", [None, "# No markers", f"{report.END} {report.BEGIN}"])
def test_a_page_without_markers_is_not_touched(text: str | None, tmp_path: Path) -> None:
    """It is refused before anything is measured."""
    page = tmp_path / "benchmarks.md"
    if text is not None:
        page.write_text(text)
    with pytest.raises(report.NoMarkers):
        report.require_markers(page)


def test_like_rows_become_one_table() -> None:
    """Whatever a scenario returns is told, series aside."""
    seen = {
        "gain": 1.9,
        "workers": {"1": {"cpu_us": 130.0}, "2": {"cpu_us": 125.0, "rps": 7000}},
        "series": [1],
    }
    assert list(report.tables(seen)) == [
        "|  |  |\n| --- | --- |\n| gain | 1.9 |",
        "| workers | CPU µs | requests/s |\n| --- | ---: | ---: |\n| 1 | 130 | - |\n| 2 | 125 | 7,000 |",
    ]


def test_the_table_on_the_terminal_names_the_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Never dropped silently; and a run of scenarios alone has no table at all."""
    report.print_table(measured())
    report.print_table(report.empty(ENVIRONMENT))
    printed = capsys.readouterr().out
    assert "missing: nginx-lua: no module" in printed
    assert "latency: not met (missing: envoy-jwt): little is added" in printed
    assert printed.count("contender") == 1


def test_a_scenario_that_fails_is_told_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page says that it failed, and not with which words: they may name places of a machine."""

    def fail(_ground: Any, *, quick: bool) -> dict[str, Any]:  # noqa: ANN401  stands in for a scenario
        raise RuntimeError(f"in /some/place, {quick}")

    monkeypatch.setitem(scenarios.SCENARIOS, "idle", fail)
    ground: Any = None
    seen = command.shown("idle", ground, quick=True)
    assert seen == {"met": False, "failed": "RuntimeError: in /some/place, True"}
    assert "/some/place" in capsys.readouterr().err
    page = "".join(report.markdown(report.empty(ENVIRONMENT) | {"scenarios": {"idle": seen}}, {}))
    assert "**Failed.**" in page
    assert "/some/place" not in page


def test_what_runs_is_what_was_asked_for() -> None:
    """The soak only where it is asked for; a quick run is the comparison alone."""
    everything = command.chosen([], quick=False, soak=False)
    assert everything[0] == "core"
    assert "soak" not in everything
    assert command.chosen([], quick=True, soak=False) == ["core"]
    assert command.chosen([], quick=False, soak=True) == [*everything, "soak"]
    assert command.chosen(["soak"], quick=True, soak=True) == ["soak"]
    assert command.chosen(["scenarios"], quick=False, soak=False) == everything[1:]


def test_an_unknown_name_is_refused() -> None:
    """So is one that runs alone, beside others."""
    for names in (["nonsense"], ["core", "servers"]):
        with pytest.raises(SystemExit):
            command.parsed(names)
