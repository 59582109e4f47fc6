"""Tests of the compiled room: left out where it is not built, failed where everything is required.

Invariant: what is asked for interpreted runs in a process of its own, since each process chooses once.

    pytestmark = needs_the_room

    if compiled.IS_USED:
        from compiled.heads import HeadReader
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import compiled
from tests.support import optional

ROOT = Path(__file__).parents[2]

needs_the_room = pytest.mark.usefixtures("compiled_room")


@pytest.fixture(scope="session")
def compiled_room() -> Path:
    """Where it lies. Of the whole session, so that Hypothesis has nothing to say about it."""
    return optional.require("compiled_room")


def run_interpreted(code: str, *arguments: str, timeout_s: float = 60) -> str:
    """What these lines print where the room is turned off."""
    return run_python(code, *arguments, timeout_s=timeout_s, environment={compiled.SWITCH: "off"})


def run_python(
    code: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    at: Path = ROOT,
    timeout_s: float = 60,
) -> str:
    """What these lines print in a process of their own, with the tree at `at`; its complaint fails the test."""
    kept = {name: value for name, value in os.environ.items() if name != compiled.SWITCH}
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=at,
        env={**kept, "PYTHONPATH": str(at), **(environment or {})},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
