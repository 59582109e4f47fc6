"""The door to the database, over SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from storage import revision, schema
from storage.engine import StorageUnavailable, reading, transaction

PARTNER = {"id": "acme", "name": "Acme", "tier": "standard", "created_at": 1, "revision": 1}


# Far above any patience here, far below what the libraries wait by default.
BOUND_SECONDS = 10


class Interrupted(Exception):
    """Something of the caller's own."""


async def partner_ids(engine: AsyncEngine) -> list[str]:
    async with reading(engine) as conn:
        return list((await conn.execute(sa.select(schema.partners.c.id))).scalars())


async def insert_partner(engine: AsyncEngine, **changes: object) -> None:
    async with transaction(engine) as conn:
        await conn.execute(sa.insert(schema.partners).values(**{**PARTNER, **changes}))


async def test_what_a_transaction_did_is_there_after_it(engine: AsyncEngine) -> None:
    """Leaving the block commits."""
    await insert_partner(engine)
    assert await partner_ids(engine) == ["acme"]


async def test_a_transaction_that_raises_leaves_nothing(engine: AsyncEngine) -> None:
    """And what was raised comes out as it was."""

    async def insert_and_fail() -> None:
        async with transaction(engine) as conn:
            await conn.execute(sa.insert(schema.partners).values(**PARTNER))
            raise Interrupted

    with pytest.raises(Interrupted):
        await insert_and_fail()
    assert await partner_ids(engine) == []


async def test_a_cancelled_transaction_leaves_nothing_and_holds_nothing(engine: AsyncEngine) -> None:
    """The next writer does not wait for it."""
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with transaction(engine) as conn:
            await revision.bump(conn)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with transaction(engine) as conn:
        assert await revision.bump(conn) == 1


async def test_a_reading_sees_one_moment(engine: AsyncEngine) -> None:
    """What is committed meanwhile is not for it."""
    async with reading(engine) as conn:
        before = await revision.current(conn)
        async with transaction(engine) as writer:
            await revision.bump(writer)
        assert await revision.current(conn) == before
    async with reading(engine) as conn:
        assert await revision.current(conn) == before + 1


async def test_a_reading_cannot_write(engine: AsyncEngine) -> None:
    """The database refuses, as a mistake of the caller's and not as an outage."""
    with pytest.raises(exc.DBAPIError):
        async with reading(engine) as conn:
            await revision.bump(conn)
    async with transaction(engine) as conn:
        assert await revision.bump(conn) == 1


async def test_writers_wait_for_each_other(engine: AsyncEngine) -> None:
    """Reading first and writing then is safe: nobody fails, nobody's change is lost."""

    async def read_then_bump() -> None:
        async with transaction(engine) as conn:
            seen = await revision.current(conn)
            await asyncio.sleep(0)
            assert await revision.bump(conn) > seen

    await asyncio.gather(*(read_then_bump() for _ in range(20)))
    async with reading(engine) as conn:
        assert await revision.current(conn) == 20


async def test_a_violated_constraint_stays_what_it_is(engine: AsyncEngine) -> None:
    """The caller knows which rule it was; it is no outage."""
    await insert_partner(engine)
    with pytest.raises(exc.IntegrityError):
        await insert_partner(engine)


async def test_an_error_in_a_statement_stays_what_it_is(engine: AsyncEngine) -> None:
    """Our own mistake is not answered with "try again later"."""
    with pytest.raises(exc.DBAPIError):
        async with transaction(engine) as conn:
            await conn.execute(sa.text("SELECT * FROM no_such_table"))


async def test_an_argument_of_the_wrong_type_is_no_outage(engine: AsyncEngine) -> None:
    """Drivers report it in their own ways, before the database is asked."""
    with pytest.raises(exc.DBAPIError):
        await insert_partner(engine, created_at=object())


async def test_an_error_of_the_callers_own_is_not_the_databases(engine: AsyncEngine) -> None:
    """Also when it is of a kind that the drivers raise."""
    with pytest.raises(FileNotFoundError):
        async with transaction(engine):
            raise FileNotFoundError
    with pytest.raises(TimeoutError):
        async with reading(engine):
            raise TimeoutError


async def test_an_error_does_not_quote_what_was_to_be_stored(engine: AsyncEngine) -> None:
    """Parameters are ciphertexts and names of partners."""
    await insert_partner(engine)
    with pytest.raises(exc.IntegrityError) as violated:
        await insert_partner(engine, name="swordfish")
    assert "swordfish" not in str(violated.value)


async def test_waiting_for_a_connection_is_bounded(migrated_url: str) -> None:
    """When every connection is taken, the next caller hears that the store is unavailable."""
    small = storage_engine.open_engine(migrated_url, pool_size=1, patience_ms=1_000)
    try:
        async with reading(small):
            with pytest.raises(StorageUnavailable):
                async with asyncio.timeout(BOUND_SECONDS), reading(small):
                    pytest.fail("there was only one connection")
        async with reading(small) as conn:
            assert await revision.current(conn) == 0
    finally:
        await small.dispose()


async def test_waiting_for_a_writer_is_bounded(engine: AsyncEngine, migrated_url: str) -> None:
    """A writer that never ends does not hold up others for ever, nor readers at all."""
    impatient = storage_engine.open_engine(migrated_url, patience_ms=1_000)
    try:
        async with transaction(engine) as conn:
            await revision.bump(conn)
            with pytest.raises(StorageUnavailable):
                async with transaction(impatient) as other:
                    await revision.bump(other)
            async with reading(impatient) as other:
                assert await revision.current(other) == 0
        async with transaction(impatient) as other:
            assert await revision.bump(other) == 2
    finally:
        await impatient.dispose()
