"""People over a real, migrated database of either kind, with the partner acme."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.people import OPERATOR, House, build_house


@pytest.fixture
async def house(engine: AsyncEngine) -> AsyncIterator[House]:
    built = build_house(engine)
    await built.room.custody.create_partner("acme", "Acme Trading", "standard", author=OPERATOR)
    yield built
    built.hashes.close()
