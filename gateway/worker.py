"""One worker among several, started by the supervisor as `python -m gateway.worker CONFIG SURFACES …`."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway import serving
from gateway.server import leash
from gateway.settings import load


def main() -> None:
    leash.hold()
    config, surfaces, descriptors, folder = sys.argv[1:]
    configured = load(Path(config))
    inherited = [int(each) for each in descriptors.split(",")]
    serving.serve_shared(configured, tuple(surfaces.split(",")), inherited, Path(folder))


if __name__ == "__main__":
    main()
