"""`python -m bench.scenarios NAME… [--quick]`: scenarios by themselves, printed and not kept."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from bench.ground import Ground
from bench.scenarios import SCENARIOS


def main() -> None:
    names = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown or not names:
        sys.exit(f"one or more of: {', '.join(SCENARIOS)}")
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder)) as ground:
        for name in names:
            result = SCENARIOS[name](ground, quick="--quick" in sys.argv)
            print(json.dumps({name: result}, indent=2), flush=True)


if __name__ == "__main__":
    main()
