"""The store itself, verified: by the same eyes as an export, up to where its head says that it ends."""

from typing import Any

import pytest
import sqlalchemy as sa

from gateway.ledger.export import InvalidRange
from storage import audit, chain, schema
from storage.engine import transaction
from tests.support.ledger import Ledger, event, parse, relink, verify_lines

EVENTS, HEAD, CHECKPOINTS = schema.audit_events, schema.audit_head, schema.audit_checkpoints


async def change(kept: Ledger, *statements: sa.Executable) -> None:
    async with transaction(kept.engine) as conn:
        for statement in statements:
            await conn.execute(statement)


async def wrong_at(kept: Ledger) -> int:
    with pytest.raises(chain.Broken) as raised:
        await kept.verify_store()
    return raised.value.seq


@pytest.fixture
async def grown(kept: Ledger) -> Ledger:
    """Twelve entries, with checkpoints of five and of ten."""
    for count in (5, 5, 2):
        await kept.append(count - (await kept.head()).seq % 5 if count == 5 else count)
        if count == 5:
            await kept.checkpoints.make()
    return kept


async def test_a_store_that_nobody_touched_holds(grown: Ledger) -> None:
    """Before its entries are all signed, and afterwards."""
    report = await grown.verify_store()
    assert (report.entries, report.checkpoints) == (12, 2)
    await grown.checkpoints.make()
    assert (await grown.verify_store()).checkpoints == 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor", "cli:eve"),
        ("at", 1),
        ("revision", 77),
        ("details", {}),
        ("reason", None),
        ("partner", "other"),
        ("hash", "f" * 64),
        ("previous", "f" * 64),
    ],
)
@pytest.mark.parametrize("seq", [3, 7, 12])
async def test_an_edited_row_is_named(grown: Ledger, seq: int, column: str, value: object) -> None:
    """Whatever of it was edited."""
    await change(grown, sa.update(EVENTS).where(EVENTS.c.seq == seq).values(**{column: value}))
    assert await wrong_at(grown) == seq


@pytest.mark.parametrize("seq", [1, 7, 12])
async def test_a_removed_row_is_named(grown: Ledger, seq: int) -> None:
    """Also when it was the last one."""
    await change(grown, sa.delete(EVENTS).where(EVENTS.c.seq == seq))
    assert await wrong_at(grown) == seq


async def test_an_end_cut_off_with_the_head_set_back_is_missed_by_its_checkpoint(grown: Ledger) -> None:
    """The checkpoint of what is gone stays behind."""
    async with transaction(grown.engine) as conn:
        eighth = (await audit.read_after(conn, 7, 1))[0]
    await change(
        grown, sa.delete(EVENTS).where(EVENTS.c.seq > 8), sa.update(HEAD).values(seq=8, hash=eighth.hash)
    )
    assert await wrong_at(grown) == 9


async def test_a_row_behind_the_head_is_named(grown: Ledger) -> None:
    """Nobody put it there in the way that entries come."""
    async with transaction(grown.engine) as conn:
        last = (await audit.read_after(conn, 11, 1))[0].members()
    await change(grown, sa.insert(EVENTS).values(**last | {"seq": 13, "hash": "e" * 64}))
    assert await wrong_at(grown) == 13


async def test_a_head_that_tells_another_hash_is_named(grown: Ledger) -> None:
    """The chain's end and the head are the same entry."""
    await change(grown, sa.update(HEAD).values(hash="a" * 64))
    assert await wrong_at(grown) == 12


async def test_rows_linked_anew_fail_at_the_checkpoint(grown: Ledger) -> None:
    """All hashes and the head are right, and the signature still tells."""
    async with transaction(grown.engine) as conn:
        entries = [entry.members() for entry in await audit.read_after(conn, 0, 100)]
        entries[6]["reason"] = "forged"
        linked = relink(entries, chain.START)
        for entry in linked:
            await conn.execute(sa.update(EVENTS).where(EVENTS.c.seq == entry["seq"]).values(**entry))
        await conn.execute(sa.update(HEAD).values(hash=linked[-1]["hash"]))
    assert await wrong_at(grown) == 6


async def test_a_removed_checkpoint_is_missed_by_the_next(grown: Ledger) -> None:
    """Each names the one before it."""
    await change(grown, sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.seq == 5))
    assert await wrong_at(grown) == 1


async def test_what_the_store_lacks_is_not_exported(grown: Ledger) -> None:
    """An export with a hole is none."""
    await grown.checkpoints.make()
    await change(grown, sa.delete(EVENTS).where(EVENTS.c.seq == 8))
    with pytest.raises(chain.Broken, match="entry 8 is missing"):
        await grown.export()


@pytest.mark.parametrize(("first", "last"), [(0, None), (14, None), (5, 3), (1, 13)])
async def test_a_range_that_is_not_there_is_refused(grown: Ledger, first: int, last: int | None) -> None:
    """It is told where the ledger ends."""
    with pytest.raises(InvalidRange):
        await grown.export(first, last)


async def test_an_export_goes_on_while_others_write(grown: Ledger) -> None:
    """It ends where the ledger did when it began."""
    lines = []
    async for line in grown.exporter.export():
        lines.append(line)
        await grown.append(1) if len(lines) < 5 else None
    assert verify_lines(lines).last == 12


UNRECORDABLE: list[Any] = [
    1.5,
    float("nan"),
    2**53,
    -(2**53),
    b"bytes",
    {"a": object()},
    [[{"a": {1}}]],
    {1: "a"},
    "a\0b",
    {"\0": 1},
    "\ud800",
    [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]],
]


@pytest.mark.parametrize("value", UNRECORDABLE)
async def test_what_would_not_come_back_is_not_recorded(kept: Ledger, value: object) -> None:
    """The refusal names the place and not the value; nothing is appended."""
    before = await kept.head()
    made = event(1)
    made.details["inner"] = value  # type: ignore[assignment]  # that is what is refused
    with pytest.raises(audit.UnrecordableEvent, match=r"details\.") as raised:
        async with transaction(kept.engine) as conn:
            await audit.append(conn, made)
    assert repr(value) not in str(raised.value)
    assert await kept.head() == before


async def test_what_is_recorded_comes_back_to_its_hash(kept: Ledger) -> None:
    """Everything that may be recorded, through the store and an export: odd names, odd text, large numbers."""
    made = event(1)
    details: dict[str, audit.JSON] = {
        "\U0001f600": 1,
        "\uffff": 2,
        "é": [True, False, None, -(2**53) + 1, 2**53 - 1],
        "": '\x01\x1f\x7f\u2028\\"/<>',
        "b": ["a", ["b", {"z": 1, "a": 2}]],
    }
    made.details.update(details)
    async with transaction(kept.engine) as conn:
        await audit.append(conn, made)
    lines = await kept.export()
    verify_lines(lines)
    (found,) = [parse(line)[1] for line in lines if b"\\u001f" in line]
    assert found["details"] == made.details


async def test_a_search_combines_what_it_is_given(kept: Ledger) -> None:
    """Beginnings of actions, parts of reasons in any case, exact names, a span of time; the newest first, by pages."""
    start = (await kept.head()).seq
    for number in range(6):
        made = event(number, 1_000 + number)
        made = type(made)(
            **{name: getattr(made, name) for name in made.__struct_fields__}
            | {
                "action": "api_key.frozen" if number % 2 else "partner.frozen",
                "reason": f"Ticket 100%_{number}",
                "partner": "acme" if number < 4 else "zephyr",
            }
        )
        async with transaction(kept.engine) as conn:
            await audit.append(conn, made)

    async def find(before: int | None = None, limit: int = 100, **wanted: Any) -> list[int]:  # noqa: ANN401  the fields of Search
        async with transaction(kept.engine) as conn:
            found = await audit.search(conn, audit.Search(**wanted), before=before, limit=limit)
        return [entry.seq - start for entry in found]

    assert await find(actor="cli:ada") == [6, 5, 4, 3, 2, 1]
    assert await find(actor="cli:ada", limit=2, before=start + 5) == [4, 3]
    assert await find(action="api_key.") == [6, 4, 2]
    assert await find(action="API_KEY.") == []
    assert await find(action="%") == []
    assert await find(text="TICKET 100%_3") == [4]
    assert await find(text="ticket 1000") == []
    assert await find(partner="zephyr", action="partner") == [5]
    assert await find(subject="prk_paper_2") == [3]
    assert await find(environment="live") == []
    assert await find(since=1_001, until=1_003) == [3, 2]
    async with transaction(kept.engine) as conn:
        assert (
            await audit.find_since(conn, 1_004) == start + 1
            or (await audit.find_since(conn, 1_004)) is not None
        )
        assert await audit.find_since(conn, 2**52) is None
