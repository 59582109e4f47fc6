"""The authorization server's flows over a real, migrated database of either kind."""

import os

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support import custody, oauth_people
from tests.support.oauth_people import CLIENT, PUBLIC, KnownClients, Side


@pytest.fixture
def room(engine: AsyncEngine) -> custody.Room:
    return custody.build_room(engine)


@pytest.fixture
async def side(room: custody.Room) -> Side:
    """With the partner `acme`, a confidential and a public client of it, and Ann."""
    await oauth_people.populate(room)
    return oauth_people.build_side(room, KnownClients(CLIENT, PUBLIC), os.urandom)
