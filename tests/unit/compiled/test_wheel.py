"""What a wheel carries: the room as it could be built, or none of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import compiled
from tests.support.compiled import ROOT, needs_the_room
from tests.support.room_copies import choice_in

ROOMS = ("gateway", "auth", "keys", "policies", "storage")


def _wheel_of(room: Path, **environment: str) -> Path:
    """Of a project with this compiled room, and with other rooms that are empty."""
    project = room.parent
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    for name in ROOMS:
        (project / name).mkdir()
        (project / name / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=project,
        env={**os.environ, "PYTHONPATH": "", **environment},
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (project / "dist").iterdir()
    return wheel


@needs_the_room
def test_a_wheel_carries_what_was_built_for_this_platform(unbuilt: Path, tmp_path: Path) -> None:
    """Whoever installs it runs compiled, without a compiler; its name says where it can be installed."""
    wheel = _wheel_of(unbuilt)
    assert f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in wheel.name
    assert not wheel.name.endswith("-none-any.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    installed = tmp_path / "installed/compiled"
    assert (installed / "laps.pyx").is_file()
    assert choice_in(installed).is_used


def test_without_a_compiler_a_wheel_is_for_everywhere(unbuilt: Path) -> None:
    """It carries the sources alone, and what it installs runs interpreted."""
    wheel = _wheel_of(unbuilt, CC="/nowhere/cc")
    assert wheel.name.endswith("-py3-none-any.whl")
    carried = zipfile.ZipFile(wheel).namelist()
    assert "compiled/laps.pyx" in carried
    assert not [name for name in carried if name.endswith((".so", compiled.stamp().name))]
