"""`make run`'s own command in a folder of its own, and what a reader of the documentation does beside it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = "http://127.0.0.1:8080"


@contextlib.contextmanager
def running(place: Path) -> Iterator[str]:
    """Its address, once it has said everything."""
    environ = {**os.environ, "PORT": str(free_port()), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo"],
        cwd=place,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        yield f"http://127.0.0.1:{environ['PORT']}"
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def paste(block: str, base: str, folder: Path) -> str:
    """What a shell prints that the block is pasted into."""
    ran = subprocess.run(
        ["sh", "-ec", block.replace(DOCUMENTED, base)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
