"""Engines of tests share what they compiled, and nothing else."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from tests.support.statements import SharedStatements


async def test_what_one_engine_compiled_another_takes(
    shared_statements: SharedStatements, tmp_path: Path
) -> None:
    """The second database adds no statement to the cache, and answers with its own values."""
    table = sa.table("things", sa.column("shared_statements_probe", sa.Integer))
    sizes, answers = [], []
    for number in (1, 2):
        engine = storage_engine.open_engine(f"sqlite:{tmp_path / f'{number}.db'}")
        async with storage_engine.transaction(engine) as connection:
            await connection.execute(sa.text("CREATE TABLE things (shared_statements_probe INTEGER)"))
            await connection.execute(sa.insert(table).values(shared_statements_probe=number))
            answers.append((await connection.execute(sa.select(table))).scalar_one())
        await engine.dispose()
        sizes.append(len(shared_statements))
    assert answers == [1, 2]
    assert sizes[0] == sizes[1]


async def test_another_dialect_compiles_its_own(
    shared_statements: SharedStatements, engine: AsyncEngine
) -> None:
    """What was compiled for one kind of database is not found for the other."""
    statement = sa.select(sa.literal(1).label("another_dialect_probe"))
    for _ in range(2):
        async with storage_engine.reading(engine) as connection:
            await connection.execute(statement)
    mine = [key for key, compiled in shared_statements.items() if "another_dialect_probe" in str(compiled)]
    assert [key[0] for key in mine].count(type(engine.dialect)) == 1
    assert all(isinstance(shared_statements[key].dialect, key[0]) for key in mine)
