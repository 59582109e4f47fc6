"""The demo's gateway process: `portreeve serve` on a leash. `python -m gateway.demo.node CONFIG`."""

import sys

from gateway import cli
from gateway.server import leash

if __name__ == "__main__":
    leash.hold()
    cli.cli(["--config", sys.argv[1], "serve"], prog_name="portreeve")
