"""An authorization server to ask. What rests on the store is asked on either kind; the rest on the quicker one."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from tests.support import oauth_desk
from tests.support.oauth_desk import Desk


@pytest.fixture
async def file_engine(migrated_sqlite_url: str) -> AsyncIterator[AsyncEngine]:
    opened = storage_engine.open_engine(migrated_sqlite_url)
    yield opened
    await opened.dispose()


@pytest.fixture
async def desk(file_engine: AsyncEngine) -> Desk:
    return await oauth_desk.opened(file_engine)


@pytest.fixture
async def stored(engine: AsyncEngine) -> Desk:
    """On either kind of store."""
    return await oauth_desk.opened(engine)
