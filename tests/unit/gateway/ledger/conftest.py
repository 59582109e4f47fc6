"""A ledger over a real database of either kind."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support import custody, ledger


@pytest.fixture
async def kept(engine: AsyncEngine) -> ledger.Ledger:
    return await ledger.build(custody.build_room(engine))
