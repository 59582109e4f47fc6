import asyncpg
import pytest

from storage import engine as storage_engine
from storage import revision
from tests.support.databases import MigratedDatabases, database_name

PARTNER = (
    "INSERT INTO partners (id, name, tier, created_at, revision) VALUES ('acme', 'Acme', 'standard', 1, 1)"
)


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(url: str, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


@pytest.mark.parametrize("table", ["partners", "revision", "audit_head", "alembic_version"])
async def test_the_next_borrower_finds_the_rows_that_migrations_bring_and_no_others(
    migrated_databases: MigratedDatabases, table: str
) -> None:
    """Whatever a borrower wrote, changed or deleted is as it was."""
    # One that was lent often enough by now is not lent again: then it is the next one that is.
    lent = []
    for _ in range(2):
        first = migrated_databases.lend()
        brought = await fetch(first, f"SELECT * FROM {table}")  # noqa: S608  ours
        await execute(first, PARTNER, "UPDATE revision SET value = value + 7", "DELETE FROM audit_head")
        migrated_databases.give_back(first)
        second = migrated_databases.lend()
        assert await fetch(second, f"SELECT * FROM {table}") == brought  # noqa: S608  ours
        migrated_databases.give_back(second)
        lent.append((first, second))
    assert any(first == second for first, second in lent)


@pytest.mark.parametrize(
    "touched",
    [
        "ALTER TABLE partners ADD COLUMN more integer",
        "DROP TABLE settled_requests",
        "CREATE TABLE more (id integer)",
        "ALTER TABLE secrets DISABLE TRIGGER ALL",
        "REVOKE ALL ON partners FROM PUBLIC, CURRENT_USER",
        "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 64', current_database()); END $$",
    ],
)
async def test_what_somebody_rebuilt_is_lent_to_nobody(
    migrated_databases: MigratedDatabases, touched: str
) -> None:
    """A schema or a setting that differs is thrown away with its database."""
    url = migrated_databases.lend()
    await execute(url, touched)
    migrated_databases.give_back(url)
    following = migrated_databases.lend()
    known = await fetch(following, "SELECT datname FROM pg_database")
    migrated_databases.give_back(following)
    assert following != url
    assert (database_name(url),) not in known


async def test_who_stays_connected_is_thrown_out(migrated_databases: MigratedDatabases) -> None:
    """A transaction that was left open commits nothing into the next borrower's database."""
    url = migrated_databases.lend()
    left = await asyncpg.connect(url)
    await left.execute("BEGIN")
    await left.execute(PARTNER)
    migrated_databases.give_back(url)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await left.execute("COMMIT")
    await left.close()
    following = migrated_databases.lend()
    assert await fetch(following, "SELECT id FROM partners") == []
    migrated_databases.give_back(following)


async def test_two_borrowers_share_nothing(migrated_databases: MigratedDatabases) -> None:
    """What is lent is lent to one."""
    one, another = migrated_databases.lend(), migrated_databases.lend()
    await execute(one, PARTNER)
    assert await fetch(another, "SELECT id FROM partners") == []
    migrated_databases.give_back(one)
    migrated_databases.give_back(another)


async def test_what_comes_back_can_be_used(migrated_databases: MigratedDatabases) -> None:
    """The store's own code finds in it what it needs."""
    migrated_databases.give_back(migrated_databases.lend())
    url = migrated_databases.lend()
    engine = storage_engine.open_engine(url)
    async with storage_engine.transaction(engine) as conn:
        before = await revision.bump(conn)
    async with storage_engine.reading(engine) as conn:
        assert await revision.current(conn) == before
    await engine.dispose()
    migrated_databases.give_back(url)
