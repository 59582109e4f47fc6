"""The keys room over a real, migrated database of either kind."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from keys.changes import Author
from storage import engine as storage_engine
from tests.support import custody


@pytest.fixture
def empty_room(engine: AsyncEngine) -> custody.Room:
    return custody.build_room(engine)


@pytest.fixture
async def room(empty_room: custody.Room) -> custody.Room:
    """With one partner, `acme`."""
    await empty_room.custody.create_partner("acme", "Acme Trading", "standard", author=Author("operator"))
    return empty_room


@pytest.fixture
async def dead_engine() -> AsyncIterator[AsyncEngine]:
    """A store that nobody answers for: port 1 of the loopback refuses at once."""
    dead = storage_engine.open_engine("postgresql://nobody@127.0.0.1:1/none", password="none")
    yield dead
    await dead.dispose()


@pytest.fixture
def eventually() -> custody.Eventually:
    """Lets the background run until something holds; the bound only ends a test that fails."""

    async def wait(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110  what runs in the background is asked, it tells nobody
                await asyncio.sleep(0.005)

    return wait
