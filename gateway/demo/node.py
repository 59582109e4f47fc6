"""The demo's gateway process: `portreeve serve` on a leash. `python -m gateway.demo.node CONFIG`."""

import sys
from pathlib import Path

from gateway import app
from gateway.demo import leash

if __name__ == "__main__":
    leash.hold()
    app.serve(Path(sys.argv[1]), surfaces=None, workers=None)
