"""One worker among several: `python -m gateway.worker CONFIG SURFACES DESCRIPTOR FOLDER`, started by the supervisor."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway import serving
from gateway.server import leash
from gateway.settings import load


def main() -> None:
    leash.hold()
    config, surfaces, descriptor, folder = sys.argv[1:]
    serving.serve_shared(load(Path(config)), tuple(surfaces.split(",")), int(descriptor), Path(folder))


if __name__ == "__main__":
    main()
