"""Copies of the compiled room, to be built, broken and looked at in processes of their own.

Invariant: the room of this tree is never touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import compiled
from tests.support.compiled import run_python

ROOM = Path(compiled.__file__).parent
_DESCRIBE = (
    "import compiled, json; print(json.dumps([compiled.IS_USED, compiled.WHY_NOT, compiled.describe()]))"
)


class Choice(NamedTuple):
    is_used: bool
    why_not: str
    described: str


def copy_room(to: Path, modules: tuple[str, ...] = compiled.MODULES) -> Path:
    """The sources alone, of these modules; the copy's own folder is the tree to run in."""
    room = to / "compiled"
    room.mkdir(parents=True)
    for source in (*ROOM.glob("*.py"), *ROOM.glob("*.pxd"), *_sources(modules)):
        shutil.copy(source, room)
    beginning = room / "__init__.py"
    named = re.compile(r"^MODULES: Final = \(.*?\)$", re.MULTILINE | re.DOTALL)
    beginning.write_text(named.sub(f"MODULES: Final = {modules!r}", beginning.read_text()))
    return room


def _sources(modules: tuple[str, ...]) -> list[Path]:
    return [ROOM / f"{name}.{kind}" for name in modules for kind in ("pyx", "pyi")]


def build_in(room: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "compiled.build", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=room.parent,
        env={**os.environ, "PYTHONPATH": str(room.parent), **environment},
    )


def choice_in(room: Path, **environment: str) -> Choice:
    """What a process that starts now makes of it."""
    told: list[Any] = json.loads(run_python(_DESCRIBE, environment=environment, at=room.parent))
    return Choice(*told)


def library_in(room: Path, name: str = "laps") -> Path:
    (library,) = room.glob(f"{name}.*.so")
    return library


def stamp_in(room: Path) -> Path:
    return room / compiled.stamp().name
