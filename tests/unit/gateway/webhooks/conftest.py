"""Webhooks over a real, migrated database of either kind, with the partners `acme` and `zephyr`."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support import custody, webhooks


@pytest.fixture
async def scene(engine: AsyncEngine) -> webhooks.Scene:
    room = custody.build_room(engine)
    for partner in ("acme", "zephyr"):
        await room.custody.create_partner(partner, partner.title(), "standard", author=webhooks.OPERATOR)
    return webhooks.build_scene(room)
