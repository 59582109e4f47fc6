"""Charts: well-formed, told in words, and drawn to scale."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import charts
from bench.plots import Chart, bars, lines

SVG = "{http://www.w3.org/2000/svg}"
CHART = Chart("CPU <per> request", "In µs. a & b.", "µs")


def widths(drawn: str) -> list[float]:
    """Of the bars alone; the first rectangle is the card."""
    found = ET.fromstring(drawn).findall(f"{SVG}rect")[1:]  # noqa: S314  our own output
    return [float(one.attrib["width"]) for one in found if one.attrib["height"] == "14"]


def test_a_chart_says_what_it_shows() -> None:
    """Text that XML would read as markup included."""
    root = ET.fromstring(bars(CHART, {"a & b": [1.5]}, [""]))  # noqa: S314  our own output
    assert root.attrib["role"] == "img"
    assert [root.findtext(f"{SVG}{part}") for part in ("title", "desc")] == [CHART.title, CHART.told]
    texts = [one.text for one in root.findall(f"{SVG}text")]
    assert {"a & b", "1.5 µs"} <= set(texts)


def test_bars_are_as_long_as_their_values() -> None:
    """A value below zero, which a difference may be, has no length."""
    long, short, none = widths(bars(CHART, {"a": [200], "b": [50], "c": [-1]}, [""]))
    assert short / long == pytest.approx(0.25, abs=0.001)
    assert none == 0


def test_nothing_to_show_is_still_a_chart() -> None:
    """All zeros and no points divide by nothing."""
    for drawn in (bars(CHART, {"a": [0]}, [""]), bars(CHART, {}, [""]), lines(CHART, {"a": []}, "s")):
        ET.fromstring(drawn)  # noqa: S314  our own output


@pytest.mark.parametrize("most", [0.001, 0.99, 1, 7, 99.9, 100, 113.4, 1000])
def test_no_line_leaves_its_axes(most: float) -> None:
    """The axis ends at or above the highest point, and not far above."""
    root = ET.fromstring(lines(CHART, {"a": [(0, most), (10, 0)]}, "s"))  # noqa: S314  our own output
    drawn = root.findall(f"{SVG}path")[-1].attrib["d"]
    (_, high), (_, low) = (point.split() for point in drawn[1:].split("L"))
    top, bottom = 94.0, 314.0
    assert float(low) == bottom
    assert top <= float(high) <= bottom - (bottom - top) * 0.49


def test_a_soak_gives_lines_and_a_latency_run_gives_bars() -> None:
    """By what the scenarios return."""
    row = {"at_s": 10.0, "rss_mib": 99.0, "p99_ms": 2.0}
    scenarios: dict[str, dict[str, Any]] = {
        "soak": {"stores": {"redis": {"rate": 2000, "series": [row]}}},
        "latency": {"rates": {"500": {"added": {"nginx-plain": {"p50_ms": 0.1, "p99_ms": 0.2}}}}},
        "workers": {"met": True},
    }
    names = [name for name, _, _ in charts.of_scenarios(scenarios)]
    assert names == ["bench-added-500.svg", "bench-soak-memory.svg", "bench-soak-p99.svg"]
