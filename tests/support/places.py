"""Where tests keep their files: in memory, where there is enough of it, for a store waits for its disk at each commit.

Invariant: nothing here changes what is written or synchronised, only what takes it. Whoever says where (`--basetemp`,
TMPDIR or pytest's own variable) is obeyed; memory that is small, or from which nothing may be run, is left alone.
Of a run's directories only those of failed tests stay.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  pytest makes a directory in it that is this account's alone
# Several times what a run has at once; images for containers come with 64 MiB.
ENOUGH_BYTES = 2 * 1024**3
# What pytest reads before it asks for the directory of temporary files.
ROOT_VARIABLE = "PYTEST_DEBUG_TEMPROOT"


def choose(environment: MutableMapping[str, str], memory: Path = MEMORY) -> None:
    """Before pytest makes its first directory; the processes of a run find it chosen."""
    if "TMPDIR" not in environment and ROOT_VARIABLE not in environment and _has_room(memory):
        environment[ROOT_VARIABLE] = str(memory)


def _has_room(memory: Path) -> bool:
    """The compiled room is built there, and loaded from there."""
    if not os.access(memory, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(memory)
    return found.f_bavail * found.f_frsize >= ENOUGH_BYTES and not found.f_flag & os.ST_NOEXEC
