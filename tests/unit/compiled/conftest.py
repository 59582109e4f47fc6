"""One small room that was built whole, and copies of it to spoil."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import optional
from tests.support.room_copies import build_in, copy_room

if TYPE_CHECKING:
    from tests.support.turned import Connection


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


@pytest.fixture
async def connection() -> Connection:
    optional.require("compiled_room")
    from tests.support.turned import Connection  # noqa: PLC0415  only where it can be

    return Connection()


@pytest.fixture
async def complaints() -> AsyncIterator[list[BaseException]]:
    """What reached the loop because nothing below it took it."""
    loop, seen = asyncio.get_running_loop(), list[BaseException]()
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    yield seen
    loop.set_exception_handler(None)
