"""An authorization server to ask, and its flows. What rests on the store is asked on either kind of it; the rest on the
quicker one.
"""

import os
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from tests.support import custody, oauth_desk, oauth_people
from tests.support.oauth_desk import Desk
from tests.support.oauth_people import CLIENT, PUBLIC, KnownClients, Side


@pytest.fixture
def room(engine: AsyncEngine) -> custody.Room:
    return custody.build_room(engine)


@pytest.fixture
async def side(room: custody.Room) -> Side:
    """With the partner `acme`, a confidential and a public client of it, and Ann."""
    await oauth_people.populate(room)
    return oauth_people.build_side(room, KnownClients(CLIENT, PUBLIC), os.urandom)


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
