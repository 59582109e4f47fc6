"""Charts as SVG, written without any library: bars with their values, and lines over time.

Every chart is a white card, so that it reads the same on a light page and on a dark one, and says in words what it
shows (`title` and `desc`) to those who don't see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from math import floor, log10
from typing import NamedTuple

_WIDTH, _PAD, _TOP = 760, 20, 62
_LABELS, _VALUES = 190, 70
_BAR, _GAP = 16, 10
_INK, _FAINT, _GRID = "#1f2933", "#52606d", "#e4e7eb"
_COLOURS = ("#2563a8", "#d97706", "#7c3aed", "#0f766e")
_OURS, _OTHERS = _COLOURS[0], "#94a3b8"
_OURS_BEGINS = "portreeve"
_PLOT_HEIGHT = 220
_FONT = "system-ui, -apple-system, Segoe UI, sans-serif"

Points = Sequence[tuple[float, float]]


class Chart(NamedTuple):
    title: str
    told: str
    unit: str


def bars(chart: Chart, rows: Mapping[str, Sequence[float]], series: Sequence[str]) -> str:
    """A row for each name, in it a bar for each of the series. With one series, colour tells ours from others."""
    widest = max((value for values in rows.values() for value in values), default=0.0)
    room = _WIDTH - 2 * _PAD - _LABELS - _VALUES
    scale = room / widest if widest > 0 else 0.0
    parts, top = _legend(series) if len(series) > 1 else [], _TOP + (24 if len(series) > 1 else 0)
    for name, values in rows.items():
        height = _BAR * len(values)
        parts.append(_text(_PAD + _LABELS - 10, top + height / 2 + 4, name, anchor="end"))
        for number, value in enumerate(values):
            colour = _COLOURS[number] if len(series) > 1 else _colour_of(name)
            parts += _bar(top + number * _BAR, max(0.0, value) * scale, colour, f"{value:,g} {chart.unit}")
        top += height + _GAP
    return _card(chart, parts, top + _PAD - _GAP)


def lines(chart: Chart, series: Mapping[str, Points], across: str) -> str:
    """A line for each name over a common axis from zero."""
    points = [point for line in series.values() for point in line]
    most_x = max((x for x, _ in points), default=0.0) or 1.0
    most_y = _round_up(max((y for _, y in points), default=0.0) or 1.0)
    left, top, width = _PAD + 50, _TOP + 32, _WIDTH - 2 * _PAD - 60
    bottom = top + _PLOT_HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / most_x * width, bottom - y / most_y * _PLOT_HEIGHT

    parts = _legend(list(series))
    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(0, most_y * share)
        parts.append(f'<path d="M{left} {y:.1f}H{left + width}" stroke="{_GRID}"/>')
        parts.append(_text(left - 8, y + 4, f"{most_y * share:,g}", anchor="end", colour=_FAINT))
        x, _ = place(most_x * share, 0)
        parts.append(_text(x, bottom + 18, f"{most_x * share:,.0f}", anchor="middle", colour=_FAINT))
    parts.append(_text(left + width, bottom + 36, across, anchor="end", colour=_FAINT))
    for colour, line in zip(_COLOURS, series.values(), strict=False):
        parts.append(_path([place(x, y) for x, y in line], colour))
    return _card(chart, parts, bottom + 36 + _PAD)


def _colour_of(name: str) -> str:
    return _OURS if name.startswith(_OURS_BEGINS) else _OTHERS


def _bar(top: float, width: float, colour: str, value: str) -> list[str]:
    left = _PAD + _LABELS
    return [
        f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{_BAR - 2}" rx="2" fill="{colour}"/>',
        _text(left + width + 6, top + _BAR - 5, value),
    ]


def _path(points: Points, colour: str) -> str:
    drawn = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
    return f'<path d="{drawn}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'


def _legend(names: Sequence[str]) -> list[str]:
    # About seven pixels a letter; what is measured by eye needs no font metrics.
    widths = [34 + 7 * len(name) for name in names]
    lefts = [_PAD + sum(widths[:number]) for number in range(len(names))]
    return [
        part
        for left, name, colour in zip(lefts, names, _COLOURS, strict=False)
        for part in (
            f'<rect x="{left}" y="{_TOP - 4}" width="12" height="12" rx="2" fill="{colour}"/>',
            _text(left + 18, _TOP + 6, name),
        )
    ]


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _card(chart: Chart, parts: Sequence[str], height: float) -> str:
    whole = f'width="{_WIDTH}" height="{height:.0f}"'
    inside = f'x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" {whole} role="img"',
            f' aria-labelledby="title told" font-family="{_FONT}" font-size="12">',
            f'<title id="title">{escape(chart.title)}</title>',
            f'<desc id="told">{escape(chart.told)}</desc>',
            f'<rect {inside} rx="8" fill="#ffffff" stroke="{_GRID}"/>',
            f'<text x="{_PAD}" y="32" fill="{_INK}" font-size="16" font-weight="600">{escape(chart.title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _round_up(value: float) -> float:
    """To what divides into quarters that are short to write."""
    step = 10.0 ** floor(log10(value))
    edges = [step, *(step * factor for factor in (2, 4, 6, 8, 10))]
    return next(above for below, above in pairwise([0.0, *edges]) if below < value <= above)
