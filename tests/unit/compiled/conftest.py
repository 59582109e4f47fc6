"""One small room that was built whole, and copies of it to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.room_copies import build_in, copy_room


@pytest.fixture(scope="session")
def _whole(tmp_path_factory: pytest.TempPathFactory, compiled_room: Path) -> Path:
    room = copy_room(tmp_path_factory.mktemp("whole"), ("laps",))
    done = build_in(room, "--require")
    assert done.returncode == 0, done.stderr
    return room


@pytest.fixture
def built(_whole: Path, tmp_path: Path) -> Path:
    """A room of one module, built; this test's own."""
    return Path(shutil.copytree(_whole, tmp_path / "compiled"))


@pytest.fixture
def unbuilt(tmp_path: Path) -> Path:
    """The same before it was built; it needs no compiler."""
    return copy_room(tmp_path, ("laps",))
