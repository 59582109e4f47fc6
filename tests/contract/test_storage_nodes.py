"""What nodes say of themselves, dated by the store."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import nodes, revision, schema
from storage.engine import reading, transaction


def receipt(**changed: Any) -> nodes.Receipt:  # noqa: ANN401  fields of one
    fields: dict[str, Any] = {
        "id": "gate-1:7:00",
        "host": "gate-1",
        "version": "0.1.0",
        "surfaces": ("edge", "control"),
        "started_ago_ms": 60_000,
        "revision": 3,
        "applied_ago_ms": 1_000,
        "committed_at": None,
        "incomplete": 0,
    }
    return nodes.Receipt(**fields | changed)


async def report(engine: AsyncEngine, **changed: Any) -> None:  # noqa: ANN401  fields of a receipt
    async with transaction(engine) as conn:
        await nodes.report(conn, receipt(**changed))


async def read(engine: AsyncEngine) -> nodes.Roll:
    async with reading(engine) as conn:
        return await nodes.read(conn)


async def test_ages_become_times_of_the_store(engine: AsyncEngine) -> None:
    """A node's own clock has no part in it."""
    await report(engine, committed_at=12)
    roll = await read(engine)
    (node,) = roll.nodes
    assert (node.id, node.host, node.surfaces) == ("gate-1:7:00", "gate-1", ("edge", "control"))
    assert (node.revision, node.committed_at, node.incomplete) == (3, 12, 0)
    assert node.seen_at <= roll.at < node.seen_at + 10_000
    # The store's clock runs on within a statement.
    assert 0 <= node.applied_at + 1_000 - node.seen_at < 100
    assert 0 <= node.started_at + 60_000 - node.seen_at + 100 < 200
    assert roll.latest == revision.Revision(0, None)


async def test_when_a_revision_was_applied_is_said_once(engine: AsyncEngine) -> None:
    """A heartbeat moves nothing but when the node was seen, and what it lacks."""
    await report(engine, incomplete=2)
    (first,) = (await read(engine)).nodes
    await report(engine, applied_ago_ms=0)
    (again,) = (await read(engine)).nodes
    assert again.applied_at == first.applied_at
    assert again.started_at == first.started_at
    assert again.seen_at >= first.seen_at
    assert again.incomplete == 0


async def test_the_next_revision_has_a_time_of_its_own(engine: AsyncEngine) -> None:
    """Also one that is lower, which a restored store brings."""
    await report(engine)
    (first,) = (await read(engine)).nodes
    for number in (4, 2):
        await report(engine, revision=number, applied_ago_ms=0, committed_at=number)
        (node,) = (await read(engine)).nodes
        assert (node.revision, node.committed_at) == (number, number)
        assert node.applied_at > first.applied_at


async def test_a_receipt_is_no_change(engine: AsyncEngine) -> None:
    """Nobody is woken by it, and the ledger has nothing to tell of it."""
    await report(engine)
    async with reading(engine) as conn:
        assert await revision.current(conn) == 0
        assert (await conn.execute(sa.select(schema.audit_events))).first() is None


async def test_who_leaves_is_gone_and_who_fell_silent_is_forgotten_later(engine: AsyncEngine) -> None:
    """Nobody else is."""
    for name in ("a", "b", "c"):
        await report(engine, id=name)
    async with transaction(engine) as conn:
        await nodes.remove(conn, "a")
        silent = sa.update(schema.nodes).where(schema.nodes.c.id == "b")
        await conn.execute(silent.values(seen_at=schema.nodes.c.seen_at - 10_000))
        await nodes.prune(conn, 60_000)
        assert [node.id for node in (await nodes.read(conn)).nodes] == ["b", "c"]
        await nodes.prune(conn, 9_000)
        assert [node.id for node in (await nodes.read(conn)).nodes] == ["c"]
