"""One worker among several: `python -m gateway.worker CONFIG SURFACES DESCRIPTOR FOLDER`, started by the supervisor."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from gateway import app
from gateway.settings import load


def main() -> None:
    config, surfaces, descriptor, folder = sys.argv[1:]
    listener = socket.socket(fileno=int(descriptor))
    app.serve_worker(load(Path(config)), tuple(surfaces.split(",")), listener, Path(folder))


if __name__ == "__main__":
    main()
