"""What is told before anything listens: a ring of either name that does not open, or has nobody to sign."""

from pathlib import Path
from secrets import token_bytes

import pytest
import sqlalchemy as sa

from gateway import app, clocks, composition, initialise, settings
from gateway.cli import failures
from gateway.demo import example
from keys import envelope, ring
from keys.changes import Author
from storage import engine, schema

VERSIONS = schema.secret_versions


@pytest.fixture
async def configured(tmp_path: Path) -> settings.Settings:
    found = settings.load(example.render(tmp_path, example.Ports(8080, 1, 2)))
    await initialise.initialise(found, clocks.wall_ms, token_bytes, author=Author("test"))
    return found


async def alter(configured: settings.Settings, name: str, **values: object) -> None:
    async with composition.opened_engine(configured) as opened, engine.transaction(opened) as conn:
        one = sa.update(VERSIONS).where(VERSIONS.c.secret_id == f"ring_{name}")
        assert (await conn.execute(one.values(**values))).rowcount == 1


async def test_a_prepared_store_is_servable(configured: settings.Settings) -> None:
    await app.require_servable(configured)


@pytest.mark.parametrize("name", ["identity", ring.LEDGER])
async def test_a_ring_that_does_not_open_is_told_at_start(configured: settings.Settings, name: str) -> None:
    """The ledger's too: a node that cannot sign checkpoints would say so only when the first one is due."""
    damaged = b"\x01" + bytes(100)
    await alter(configured, name, ciphertext=damaged)
    with pytest.raises(failures.KNOWN) as told:
        await app.require_servable(configured)
    assert isinstance(told.value, envelope.EnvelopeRefused)
    assert f"ring-key/{name}" in failures.explain(told.value)


async def test_a_store_without_a_current_signing_key_is_told_at_start(configured: settings.Settings) -> None:
    await alter(configured, "identity", state="retiring")
    with pytest.raises(ring.RingUnusable, match="portreeve init"):
        await app.require_servable(configured)
