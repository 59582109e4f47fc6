"""`python -m bench [core|scenarios|servers|docs|NAME…] [--quick] [--soak] [--write-docs]`.

Measures on this machine, and writes what it saw to bench/results/latest.json, anew after every part, so that what
fails late loses nothing. Without a name: the comparison and every scenario but the soak; with `--quick` the
comparison alone. `docs` measures nothing and writes the page from the last results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import compare, report, servers
from bench.environment import environment
from bench.ground import Ground
from bench.scenarios import SCENARIOS, SOAK

_CORE, _SCENARIOS, _SERVERS, _DOCS = "core", "scenarios", "servers", "docs"
_RESULTS = Path(__file__).parent / "results"
_LATEST = _RESULTS / "latest.json"
_PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main() -> None:
    given = parsed(sys.argv[1:])
    if given.names == [_SERVERS]:
        compare_servers()
        return
    if given.write_docs or given.names == [_DOCS]:
        report.require_markers(_PAGE)
    if given.names == [_DOCS]:
        report.write_docs(json.loads(_LATEST.read_text()), _PAGE)
        return
    measured = measure(chosen(given.names, quick=given.quick, soak=given.soak), quick=given.quick)
    report.print_table(measured)
    if given.write_docs:
        report.write_docs(measured, _PAGE)
    if any("failed" in seen for seen in measured["scenarios"].values()):
        sys.exit(1)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench")
    alone, names = (_SERVERS, _DOCS), (_CORE, _SCENARIOS, *SCENARIOS)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names)}; or one of {', '.join(alone)}")
    parser.add_argument("--quick", action="store_true", help="smaller rounds; alone: the comparison only")
    parser.add_argument("--soak", action="store_true", help="with the soak, ten minutes for each store")
    parser.add_argument("--write-docs", action="store_true", help="docs/benchmarks.md and its charts as well")
    given = parser.parse_args(arguments)
    unknown = set(given.names) - set(names)
    if unknown and given.names not in ([_SERVERS], [_DOCS]):
        parser.error(f"unknown, or not together with others: {', '.join(sorted(unknown))}")
    return given


def chosen(names: Sequence[str], *, quick: bool, soak: bool) -> list[str]:
    """The parts to run, in order."""
    names = names or ([_CORE] if quick else [_CORE, _SCENARIOS])
    scenarios = [each for each in SCENARIOS if each in names or (_SCENARIOS in names and each != SOAK)]
    wants_soak = soak and SOAK not in scenarios
    return [*([_CORE] if _CORE in names else []), *scenarios, *([SOAK] if wants_soak else [])]


def measure(parts: Sequence[str], *, quick: bool) -> dict[str, Any]:
    measured = report.empty(environment(" ".join(["python -m bench", *sys.argv[1:]])))
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder)) as ground:
        for part in parts:
            print(f"== {part}", flush=True)
            if part == _CORE:
                measured |= compare.compare(ground, quick=quick)
            else:
                measured["scenarios"][part] = shown(part, ground, quick=quick)
            report.write_json(measured, _LATEST)
    return measured


def shown(name: str, ground: Ground, *, quick: bool) -> dict[str, Any]:
    """A scenario that fails is told as failed, and those behind it still run."""
    try:
        return SCENARIOS[name](ground, quick=quick)
    except (RuntimeError, OSError, subprocess.SubprocessError) as failure:
        traceback.print_exception(failure)
        return {"met": False, "failed": f"{type(failure).__name__}: {failure}"}


def compare_servers() -> None:
    seen = {"environment": environment("python -m bench servers"), **servers.compare()}
    report.write_json(seen, _RESULTS / "servers.json")
    print(json.dumps(seen, indent=2))


if __name__ == "__main__":
    main()
