"""Ends a process of ours without a goodbye, at a moment that nobody chose."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping


def kill_at(module: str, told: Mapping[str, str], delay_s: float) -> None:
    """Let it go on for so long after it has said `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-m", module], env={**os.environ, **told}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        # The fault itself: a moment that nobody chose.
        time.sleep(delay_s)
        assert process.poll() is None, "it ended by itself"
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
