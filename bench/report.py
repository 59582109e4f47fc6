"""What a run is told as: `latest.json` for programs, a table on the terminal, and a section of docs/benchmarks.md.

The page's own words stand around two markers; only what is between them is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import charts

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_COLUMNS = {
    "CPU µs": "cpu_us",
    "lowest to highest": "",
    "ratio": "ratio",
    "requests/s per core": "rps_per_core",
    "requests/s": "rps",
    "p50 ms": "p50_ms",
    "p99 ms": "p99_ms",
    "p99.9 ms": "p999_ms",
    "peak MiB": "rss_mib",
    "Redis CPU µs": "store_cpu_us",
    "forged": "",
    "replayed": "",
}
_UNITS = {figure: column for column, figure in _COLUMNS.items() if figure} | {"rss_mib": "resident MiB"}
# A failure's words may name places of this machine: they stay in the JSON and on the terminal.
_TOLD_APART = {"target", "met", "missing", "failed"}


class NoMarkers(Exception):
    """The page has no place for a report."""


def empty(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {"environment": environment, "contenders": {}, "missing": {}, "scenarios": {}}


def write_json(report: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def print_table(report: Mapping[str, Any]) -> None:
    table = comparison(report["contenders"])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table if report["contenders"] else []:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for name, why in report["missing"].items():
        print(f"missing: {name}: {why}")
    for name, seen in report["scenarios"].items():
        print(f"{name}: {verdict(seen)}: {seen.get('target', '')}")


def comparison(contenders: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The header, then a row for each."""
    return [["contender", *_COLUMNS], *([name, *_cells(one)] for name, one in contenders.items())]


def _cells(one: Mapping[str, Any]) -> Iterator[str]:
    told = {
        "lowest to highest": f"{one['cpu_us_min']:g} to {one['cpu_us_max']:g}",
        "forged": refusal(one["checked"]["tampered"]),
        "replayed": refusal(one["checked"]["replayed"]),
    }
    for column, figure in _COLUMNS.items():
        yield told[column] if column in told else cell(one[figure])


def refusal(checked: Mapping[str, Any]) -> str:
    """Of the sample: a contender is told to accept what it does not claim to check."""
    if checked["refused"] == checked["sent"]:
        return "refused"
    return "accepted" if not checked["refused"] else f"{checked['refused']} of {checked['sent']} refused"


def cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def verdict(seen: Mapping[str, Any]) -> str:
    if "failed" in seen:
        return "failed"
    missing = seen.get("missing")
    lacking = f" (missing: {missing if isinstance(missing, str) else ', '.join(missing)})" if missing else ""
    return ("met" if seen.get("met") else "not met") + lacking


def require_markers(page: Path) -> None:
    """Asked before measuring: half an hour later is too late to learn it."""
    if not page.exists() or not 0 <= page.read_text().find(BEGIN) < page.read_text().find(END):
        raise NoMarkers(f"docs/{page.name} needs the lines {BEGIN} and {END}")


def write_docs(report: Mapping[str, Any], page: Path) -> None:
    require_markers(page)
    images = charts.write(report, page.parent / "images")
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(before + "\n\n".join([BEGIN, *markdown(report, images), END]) + after)


def markdown(report: Mapping[str, Any], images: Mapping[str, str]) -> Iterator[str]:
    yield about(report["environment"])
    pictures = {name: f"![{title}](images/{name})" for name, title in images.items()}
    if report["contenders"]:
        yield "### Contenders"
        yield markdown_table(comparison(report["contenders"]))
    if report["missing"]:
        yield "\n".join(f"- missing: {name}: {why}" for name, why in report["missing"].items())
    yield from (pictures[name] for name in pictures if not _of_scenario(name))
    for name, seen in report["scenarios"].items():
        yield f"### {name.capitalize()}"
        yield f"Target: {seen.get('target', 'none told')}. **{verdict(seen).capitalize()}.**"
        yield from tables({key: value for key, value in seen.items() if key not in _TOLD_APART})
        yield from (pictures[image] for image in pictures if _of_scenario(image) == name)


def about(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    machine = (
        f"{environment['cpu']}, {environment['cores']} cores, {environment['memory_gib']:g} GiB, "
        f"{environment['kernel']}"
    )
    rows = [["date", environment["date"]], ["command", f"`{environment['command']}`"]]
    rows += [["machine", machine], ["versions", versions]]
    if "portreeve_runs" in environment:
        rows.append(["Portreeve runs", environment["portreeve_runs"]])
    return markdown_table([["", ""], *rows])


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header; figures stand to the right, names to the left."""
    ruler = ["---", *["---:" if len(rows[0]) > 2 else "---"] * (len(rows[0]) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ruler, *rows[1:]])


def tables(seen: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[str]:
    """A table for each group of like rows, and one of whatever stands alone; series are for charts."""
    flat = {name: value for name, value in seen.items() if not isinstance(value, dict | list)}
    groups = {name: value for name, value in seen.items() if isinstance(value, dict) and value}
    singles = {name: value for name, value in groups.items() if not _has_groups(value)}
    if groups and len(singles) == len(groups) > 1:
        yield _titled(above, _rows(singles))
        singles = {}
    rows = [[_words(name), cell(value)] for name, value in flat.items()]
    rows += [
        [f"{_words(name)}: {_words(inner)}", cell(value)]
        for name, of in singles.items()
        for inner, value in of.items()
    ]
    if rows:
        yield _titled(above, [["", ""], *rows])
    for name, value in groups.items():
        if _has_groups(value):
            yield from tables(value, (*above, name))


def _has_groups(value: Mapping[str, Any]) -> bool:
    return any(isinstance(inner, dict | list) for inner in value.values())


def _rows(named: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    columns = list(dict.fromkeys(column for one in named.values() for column in one))
    rows = [[name, *(cell(one.get(column)) for column in columns)] for name, one in named.items()]
    return [["", *map(_words, columns)], *rows]


def _titled(above: tuple[str, ...], rows: list[list[str]]) -> str:
    title = " / ".join(map(_words, above))
    return markdown_table([[title, *rows[0][1:]], *rows[1:]])


def _words(name: str) -> str:
    words = _UNITS.get(name) or name.replace("_", " ")
    return words.replace(" mib", " MiB").replace(" kib", " KiB").replace("mib ", "MiB ")


def _of_scenario(image: str) -> str | None:
    owners = {"bench-added": "latency", "bench-soak": "soak"}
    return next((name for begins, name in owners.items() if image.startswith(begins)), None)
