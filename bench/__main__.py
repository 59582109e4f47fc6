"""`python -m bench [path|servers] [--quick]`: measures on this machine, and writes what it saw."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

from bench import path, servers

_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    what = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "path")
    quick = "--quick" in sys.argv
    measured: dict[str, Any]
    if what == "servers":
        measured = servers.compare()
    elif what == "path":
        measured = path.compare(2 if quick else 5)
    else:
        sys.exit(f"unknown bench: {what}")
    report = {"bench": what, "python": platform.python_version(), "machine": platform.machine(), **measured}
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{what}.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
