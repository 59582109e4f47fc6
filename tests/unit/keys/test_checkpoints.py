"""Checkpoints: signed statements of the whole ledger, made of what is new, and never on top of what does not hold."""

import asyncio
import os

import msgspec
import pytest
import sqlalchemy as sa

from keys import checkpoints, ring, statements
from keys.checkpoints import LEDGER, Rhythm
from storage import audit, chain, merkle, schema
from storage.engine import reading, transaction
from tests.support import custody, ledger
from tests.support.ledger import Ledger


@pytest.fixture
async def kept(empty_room: custody.Room) -> Ledger:
    return await ledger.build(empty_room)


def claims_of(kept: Ledger, stored: checkpoints.Stored | None) -> statements.Checkpoint:
    assert stored is not None
    return statements.read(stored.statement, statements.Checkpoint, statements.public_keys([stored.signer]))[
        0
    ]


async def all_stored(kept: Ledger) -> list[checkpoints.Stored]:
    async with reading(kept.engine) as conn:
        return await checkpoints.read_between(conn, 0, 1_000_000)


async def test_a_checkpoint_is_over_every_entry(kept: Ledger) -> None:
    """Its root is that of the tree over all hashes, and it names the last entry and the checkpoint before."""
    await kept.append(5)
    first = claims_of(kept, await kept.checkpoints.make())
    await kept.append(6)
    second = claims_of(kept, await kept.checkpoints.make())
    async with reading(kept.engine) as conn:
        hashes = [bytes.fromhex(entry.hash) for entry in await audit.read_after(conn, 0, 1_000)]
    head = await kept.head()
    assert second.root == merkle.root(hashes).hex()
    assert first.root == merkle.root(hashes[: first.seq]).hex()
    assert (second.seq, second.entries, second.hash) == (head.seq, head.seq, head.hash)
    assert (first.previous, second.previous) == (None, first.mark)
    assert (second.iss, second.at) == (ledger.ISSUER, custody.START_MS)


async def test_nothing_new_makes_no_checkpoint(kept: Ledger) -> None:
    """The one that is there is told again."""
    first = await kept.checkpoints.make()
    assert await kept.checkpoints.make() == first
    assert len(await all_stored(kept)) == 1


async def test_it_costs_what_is_new(kept: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries behind the last checkpoint are not read again: what goes on is its peaks."""
    await kept.append(30)
    await kept.checkpoints.make()
    before = (await kept.head()).seq
    await kept.append(3)
    followed: list[int] = []
    follow = chain.follow

    def noting(place: chain.Place, entry: dict[str, object]) -> chain.Place:
        followed.append(place.seq + 1)
        return follow(place, entry)

    monkeypatch.setattr(chain, "follow", noting)
    await kept.checkpoints.make()
    assert followed == [before + 1, before + 2, before + 3]


async def test_nodes_that_race_make_one_line_of_checkpoints(kept: Ledger) -> None:
    """Each names the one before it, whoever made it and however many tried."""
    nodes = [kept, await kept.another_node(), await kept.another_node()]
    for _ in range(4):
        await kept.append(2)
        await asyncio.gather(*(node.checkpoints.make() for node in nodes), kept.append(1))
    await kept.checkpoints.make()
    stored = [claims_of(kept, each) for each in await all_stored(kept)]
    assert [each.previous for each in stored] == [None, *(each.mark for each in stored[:-1])]
    assert (await kept.verify_store()).checkpoints == len(stored)


async def test_a_checkpoint_is_due_after_so_many_entries_or_so_long(kept: Ledger) -> None:
    """And never while there is nothing to sign."""
    rhythm = Rhythm(entries=4, interval_ms=60_000)
    assert await kept.checkpoints.make_due(rhythm) is not None
    await kept.append(3)
    assert await kept.checkpoints.make_due(rhythm) is None
    await kept.append(1)
    assert await kept.checkpoints.make_due(rhythm) is not None
    kept.room.clock.now_ms += 60_000
    assert await kept.checkpoints.make_due(rhythm) is None
    await kept.append(1)
    assert await kept.checkpoints.make_due(rhythm) is not None


async def test_the_loop_makes_what_is_due_and_outlives_failures(kept: Ledger) -> None:
    """An outage of the store ends a step, and the next one makes up for it."""
    lost = asyncio.Event()
    steps = 0

    async def sleep(_: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 1:
            async with transaction(kept.engine) as conn:
                await conn.execute(sa.text("ALTER TABLE audit_head RENAME TO elsewhere"))
        elif steps == 2:
            async with transaction(kept.engine) as conn:
                await conn.execute(sa.text("ALTER TABLE elsewhere RENAME TO audit_head"))
            await kept.append(1)
        elif steps == 3:
            lost.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(kept.checkpoints.run(Rhythm(1, 1_000), sleep))
    async with asyncio.timeout(20):
        await lost.wait()
    task.cancel()
    assert [each.seq for each in await all_stored(kept)][-1] == (await kept.head()).seq


@pytest.mark.parametrize("statement", ["reason", "delete"])
async def test_nothing_is_signed_on_top_of_what_was_altered(kept: Ledger, statement: str) -> None:
    """An entry since the last checkpoint that was edited, or taken out, is named instead."""
    await kept.append(2)
    await kept.checkpoints.make()
    await kept.append(3)
    wrong = (await kept.head()).seq - 1
    table = schema.audit_events
    async with transaction(kept.engine) as conn:
        where = table.c.seq == wrong
        await conn.execute(sa.delete(table).where(where)) if statement == "delete" else await conn.execute(
            sa.update(table).where(where).values(reason="another")
        )
    with pytest.raises(chain.Broken) as raised:
        await kept.checkpoints.make()
    assert raised.value.seq == wrong


async def test_a_ledger_that_was_linked_anew_gets_no_checkpoint(kept: Ledger) -> None:
    """Whoever rewrites what was signed, with every hash right, is found as soon as something follows it."""
    await kept.append(3)
    await kept.checkpoints.make()
    signed = (await kept.head()).seq
    await forge_from(kept, 2)
    await kept.append(1)
    with pytest.raises(chain.Broken) as raised:
        await kept.checkpoints.make()
    assert raised.value.seq == signed + 1


async def forge_from(kept: Ledger, seq: int) -> None:
    """As one with the database's password would: entries from there on, their hashes, and the head."""
    async with transaction(kept.engine) as conn:
        entries = [entry.members() for entry in await audit.read_after(conn, 0, 1_000)]
        entries[seq - 1]["actor"] = "cli:somebody-else"
        for entry in ledger.relink(entries, chain.START):
            where = schema.audit_events.c.seq == entry["seq"]
            await conn.execute(sa.update(schema.audit_events).where(where).values(**entry))
        await conn.execute(sa.update(schema.audit_head).values(hash=entry["hash"]))


@pytest.mark.parametrize(
    "change",
    [
        {"root": "0" * 64},
        {"statement": "a.b.c"},
        {"signer": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "kid": "another"}},
    ],
)
async def test_a_checkpoint_that_was_altered_is_not_built_upon(
    kept: Ledger, change: dict[str, object]
) -> None:
    """What goes on from it would be wrong, and signed."""
    await kept.checkpoints.make()
    async with transaction(kept.engine) as conn:
        await conn.execute(sa.update(schema.audit_checkpoints).values(**change))
    await kept.append(1)
    with pytest.raises(chain.Broken):
        await kept.checkpoints.make()


async def test_without_a_key_there_is_no_checkpoint(empty_room: custody.Room) -> None:
    """The error says what to do."""
    opened = ring.Ring(
        empty_room.engine, empty_room.data_keys, empty_room.changes, empty_room.clock, os.urandom, name=LEDGER
    )
    made = checkpoints.Checkpoints(empty_room.engine, opened, empty_room.clock, ledger.ISSUER)
    assert await made.make() is None
    async with transaction(empty_room.engine) as conn:
        await audit.append(conn, ledger.event(1))
    with pytest.raises(ring.RingUnusable, match="portreeve init"):
        await made.make()


async def test_a_key_that_the_ring_has_forgotten_is_still_told(kept: Ledger) -> None:
    """What it signed is verified years later."""
    await kept.checkpoints.make()
    kid = kept.ring.get_signer().kid
    async with transaction(kept.engine) as conn:
        await conn.execute(sa.update(schema.secret_versions).values(state="revoked"))
    await kept.ring.refresh()
    assert kept.ring.jwks() == []
    assert [jwk["kid"] for jwk in await kept.checkpoints.jwks()] == [kid]


def test_peaks_that_do_not_make_the_root_are_refused() -> None:
    """A statement must agree with itself, however well it is signed."""
    peaks = merkle.Peaks().add(b"a").add(b"b").add(b"c")
    right = statements.Checkpoint(
        iss="x",
        seq=3,
        entries=3,
        root=peaks.root().hex(),
        hash="0" * 64,
        peaks=tuple(peak.hex() for peak in peaks.roots),
        at=0,
        previous=None,
    )
    assert checkpoints.read_peaks(right) == peaks
    for wrong in (
        {"peaks": right.peaks[:1]},
        {"peaks": ("zz", "zz")},
        {"root": "0" * 64},
        {"entries": 4},
        {"seq": 5, "entries": 5, "root": "0" * 64},
    ):
        with pytest.raises(statements.StatementRefused):
            checkpoints.read_peaks(msgspec.structs.replace(right, **wrong))


async def test_nothing_is_signed_where_a_checkpoint_is_gone(kept: Ledger) -> None:
    """Whoever writes to the store links everything anew and takes the checkpoints away: no first one is made of it."""
    await kept.append(5)
    await kept.checkpoints.make()
    await kept.append(3)
    made = await kept.checkpoints.make()
    assert made is not None
    await kept.forge(4)
    await kept.append(1)
    with pytest.raises(chain.Broken, match=f"entry {made.seq} had a checkpoint"):
        await kept.checkpoints.make()
    with pytest.raises(chain.Broken):
        await kept.checkpoints.make_due(Rhythm(entries=1, interval_ms=1))
    assert await all_stored(kept) == []
