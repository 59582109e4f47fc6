"""A node that serves the pages, and people and apps that come to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.page_site import Site, page_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with page_site(tmp_path) as found:
        yield found
