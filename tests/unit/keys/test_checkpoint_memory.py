"""What a host remembers of the ledger: nothing is signed that does not contain it, until somebody says so."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from gateway.ledger import verify
from keys import checkpoint_memory, checkpoints, ledger_restores, ring, statements
from keys.changes import Author
from keys.checkpoint_memory import FILE_NAME, InFile, InProcess, Remembered
from keys.checkpoints import LedgerReplaced, Rhythm
from storage import audit, chain, merkle, schema
from storage.engine import reading, transaction
from tests.support import custody, ledger
from tests.support.ledger import Ledger

PEAKS = merkle.Peaks().add(b"a").add(b"b").add(b"c")
SEEN = Remembered(3, PEAKS.root().hex(), "0" * 64, tuple(peak.hex() for peak in PEAKS.roots))
LATER = Remembered(4, PEAKS.add(b"d").root().hex(), "1" * 64, (PEAKS.add(b"d").root().hex(),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state"


@pytest.fixture
async def kept(empty_room: custody.Room, folder: Path) -> Ledger:
    """Two checkpoints, and a few entries behind them."""
    made = await ledger.build(empty_room, InFile(folder))
    for count in (5, 3):
        await made.append(count)
        await made.checkpoints.make()
    await made.append(2)
    return made


def restores(kept: Ledger, folder: Path) -> ledger_restores.LedgerRestores:
    return ledger_restores.LedgerRestores(kept.checkpoints, InFile(folder), kept.room.changes)


async def count_checkpoints(kept: Ledger) -> int:
    async with reading(kept.engine) as conn:
        return len(await checkpoints.read_between(conn, 0, 1_000_000))


async def test_a_node_that_starts_over_a_forgery_signs_nothing(kept: Ledger, folder: Path) -> None:
    """An entry edited, all linked anew, the checkpoints gone: no first one is made, by any process of this host."""
    await kept.forge(4)
    started = await kept.another_node(InFile(folder))
    for attempt in (started.checkpoints.make, started.export):
        with pytest.raises(LedgerReplaced, match="audit acknowledge"):
            await attempt()
    assert await count_checkpoints(kept) == 0


async def test_what_another_host_signed_over_a_forgery_is_not_gone_on_from(
    kept: Ledger, folder: Path
) -> None:
    """It remembers nothing and signs; whatever is put in place of the checkpoint that is remembered here, it does not
    lead on from what was.
    """
    remembered = InFile(folder).recall()
    assert remembered is not None
    async with reading(kept.engine) as conn:
        row = await checkpoints.find_latest(conn)
    assert row is not None
    await kept.forge(4)
    await (await kept.another_node()).checkpoints.make()
    async with transaction(kept.engine) as conn:
        await conn.execute(sa.insert(schema.audit_checkpoints).values(**msgspec.structs.asdict(row)))
    started = await kept.another_node(InFile(folder))
    with pytest.raises(LedgerReplaced):
        await started.checkpoints.make()
    assert InFile(folder).recall() == remembered


async def test_what_others_signed_meanwhile_is_gone_on_from(kept: Ledger, folder: Path) -> None:
    """A node that was down for a while finds that the ledger leads on from what it remembers."""
    other = await kept.another_node()
    for _ in range(3):
        await other.append(4)
        await other.checkpoints.make()
    await other.append(1)
    made = await (await kept.another_node(InFile(folder))).checkpoints.make()
    remembered = InFile(folder).recall()
    assert made is not None
    assert remembered is not None
    assert remembered.mark == made.mark
    assert (await kept.verify_store()).checkpoints == await count_checkpoints(kept) == 6


async def test_an_older_ledger_is_signed_once_somebody_says_so(kept: Ledger, folder: Path) -> None:
    """As after a restore: the ledger tells what was remembered and what was found, under a checkpoint."""
    remembered = InFile(folder).recall()
    assert remembered is not None
    async with transaction(kept.engine) as conn:
        first = await checkpoints.find_covering(conn, 1)
        assert first is not None
        last = (await audit.read_after(conn, first.seq - 1, 1))[0]
        await conn.execute(
            sa.delete(schema.audit_checkpoints).where(schema.audit_checkpoints.c.seq > last.seq)
        )
        await conn.execute(sa.delete(schema.audit_events).where(schema.audit_events.c.seq > last.seq))
        await conn.execute(sa.update(schema.audit_head).values(seq=last.seq, hash=last.hash))
    started = await kept.another_node(InFile(folder))
    with pytest.raises(LedgerReplaced):
        await started.checkpoints.make()
    made = await restores(started, folder).acknowledge(author=Author("cli:ada", "restored"))
    async with reading(kept.engine) as conn:
        (entry,) = await audit.tail(conn, 1)
    assert (entry.event.action, entry.event.actor) == ("ledger.acknowledged", "cli:ada")
    assert entry.event.details == {
        "remembered": {"seq": remembered.seq, "root": remembered.root},
        "found": {"seq": first.seq, "root": first.root},
    }
    assert made.seq == entry.seq
    # A node that runs goes on by itself: it shares the memory.
    await kept.append(1)
    assert await kept.checkpoints.make() is not None
    assert (await kept.verify_store()).last == entry.seq + 1


async def test_what_is_remembered_needs_no_acknowledgement(kept: Ledger, folder: Path) -> None:
    """Whoever says it by habit is told so, and nothing is recorded."""
    before = await kept.head()
    with pytest.raises(ledger_restores.NothingToAcknowledge):
        await restores(kept, folder).acknowledge(author=Author("cli:ada", "just in case"))
    assert await kept.head() == before


async def test_a_stranger_s_checkpoint_is_not_acknowledged(kept: Ledger, folder: Path) -> None:
    """What none of our keys has signed is nobody's backup."""
    await kept.forge(4)
    await sign_as_stranger(kept)
    with pytest.raises(chain.Broken, match="not among those to be trusted"):
        await restores(kept, folder).acknowledge(author=Author("cli:ada", "restored"))
    with pytest.raises(LedgerReplaced):
        await kept.checkpoints.make()


async def test_a_memory_that_cannot_be_read_is_told_and_stops_signing(kept: Ledger, folder: Path) -> None:
    """By its name, for as long as nobody has looked; the loop goes on."""
    good = (folder / FILE_NAME).read_bytes()
    wrong = (b"", b"{}", b"[" * 60_000, good[:40], good.replace(b"memory/1", b"memory/9"))
    for content in (*wrong, good.replace(b'"root":"', b'"root":"0')):
        (folder / FILE_NAME).write_bytes(content)
        with pytest.raises(checkpoint_memory.MemoryUnreadable, match=FILE_NAME):
            await kept.checkpoints.make()
    await kept.checkpoints.tell_memory()
    made = await restores(kept, folder).acknowledge(author=Author("cli:ada", "the disk was full"))
    remembered = InFile(folder).recall()
    assert remembered is not None
    assert remembered.mark == made.mark


async def test_a_refusal_is_loud_and_shown(
    kept: Ledger, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in the log, and for as long as it lasts to whoever asks."""
    await kept.forge(4)
    started = await kept.another_node(InFile(folder))
    steps = 0

    async def sleep(_: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await started.checkpoints.run(Rhythm(1, 1), sleep)
    assert started.checkpoints.refused is not None
    told = [each for each in caplog.records if each.levelname == "CRITICAL"]
    assert len(told) == 1
    assert "no checkpoint of the audit ledger is signed" in told[0].getMessage()


async def test_a_node_says_what_it_cannot_know(
    kept: Ledger, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a directory, and with one in which nothing lies yet; and nothing where all is well."""
    await kept.checkpoints.tell_memory()
    assert caplog.records == []
    await (await kept.another_node()).checkpoints.tell_memory()
    (folder / FILE_NAME).unlink()
    await kept.checkpoints.tell_memory()
    texts = [each.getMessage() for each in caplog.records]
    assert "no state directory" in texts[0]
    assert "remembers no checkpoint" in texts[1]


async def sign_as_stranger(kept: Ledger) -> None:
    """A first checkpoint of all that is there, right in everything but whose key it is."""
    stranger = ring.Ring(
        kept.engine, kept.room.data_keys, kept.room.changes, kept.room.clock, os.urandom, name="identity"
    )
    await stranger.ensure(author=Author("eve"))
    await checkpoints.Checkpoints(kept.engine, stranger, kept.room.clock, ledger.ISSUER).make()


async def test_nothing_is_signed_on_top_of_a_stranger_s_checkpoint(kept: Ledger) -> None:
    """Not by a node that remembers nothing either; and the store itself does not verify."""
    await kept.forge(4)
    await sign_as_stranger(kept)
    await kept.append(1)
    started = await kept.another_node()
    with pytest.raises(chain.Broken, match="not among those to be trusted"):
        await started.checkpoints.make()
    with pytest.raises(chain.Broken, match="not among those to be trusted"):
        await started.verify_store()
    own = {kept.ring.get_signer().kid}
    assert {jwk["kid"] for jwk in await started.checkpoints.jwks()} == own


async def change_versions(kept: Ledger, **values: object) -> None:
    async with transaction(kept.engine) as conn:
        of_ring = schema.secret_versions.c.secret_id == kept.ring.secret_id
        await conn.execute(sa.update(schema.secret_versions).where(of_ring).values(**values))


async def test_what_a_revoked_key_signed_before_is_gone_on_from(kept: Ledger) -> None:
    """And what it signed afterwards is not."""
    end = kept.room.clock.now_ms
    await change_versions(kept, state="revoked", revoked_at=end)
    made = await _without_keys(kept)
    assert await made.read_latest() is not None
    await change_versions(kept, revoked_at=end - 300_001)
    with pytest.raises(chain.Broken, match="which had ended"):
        await made.read_latest()


async def test_the_name_of_a_destroyed_key_alone_vouches_for_nothing(kept: Ledger, folder: Path) -> None:
    """Anybody who writes to the store can enter one: only what is remembered here is gone on from."""
    await kept.checkpoints.make()
    gone = {"state": "destroyed", "ciphertext": None, "data_key_id": None}
    await change_versions(kept, **gone, destroyed_at=kept.room.clock.now_ms)
    with pytest.raises(chain.Broken, match="key was destroyed"):
        await (await _without_keys(kept)).require_remembered()
    remembering = await _without_keys(kept, InFile(folder))
    await remembering.require_remembered()
    assert [jwk["kid"] for jwk in await remembering.jwks()] == [kept.ring.get_signer().kid]


async def _without_keys(
    kept: Ledger, memory: checkpoint_memory.Memory | None = None
) -> checkpoints.Checkpoints:
    opened = ring.Ring(
        kept.engine, kept.room.data_keys, kept.room.changes, kept.room.clock, os.urandom, name="ledger"
    )
    await opened.refresh()
    return checkpoints.Checkpoints(kept.engine, opened, kept.room.clock, ledger.ISSUER, memory)


def test_memory_goes_forward_only(folder: Path) -> None:
    """Unless it is replaced on purpose. It is nobody else's to read, and in one piece."""
    for memory in (InFile(folder), InProcess()):
        assert memory.recall() is None
        memory.keep(LATER)
        memory.keep(SEEN)
        assert memory.recall() == LATER
        memory.replace(SEEN)
        assert memory.recall() == SEEN
    assert InFile(folder).recall() == SEEN
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert sorted(each.name for each in folder.iterdir()) == ["ledger.lock", FILE_NAME]


def test_there_is_no_lasting_memory_without_a_directory(tmp_path: Path, folder: Path) -> None:
    assert not checkpoint_memory.open_memory(tmp_path / "nowhere").lasts
    assert checkpoint_memory.open_memory(folder).lasts


async def test_an_export_tells_a_late_first_checkpoint(kept: Ledger) -> None:
    """A node without a memory signed over the forgery: it is plain that nobody had signed for days."""
    await kept.forge(4)
    kept.room.clock.now_ms += 3 * 86_400_000
    launderer = await kept.another_node()
    report = ledger.verify_lines(
        await launderer.export(), verify.Pins(kids=frozenset({kept.ring.get_signer().kid}))
    )
    assert report.late == (verify.Late(report.last, 3 * 86_400_000, is_first=True),)
    assert report.longest_wait_ms == 3 * 86_400_000


async def test_a_time_in_which_no_node_ran_is_no_late_first_checkpoint(kept: Ledger) -> None:
    """It is told, and as what it is."""
    kept.room.clock.now_ms += 3 * 86_400_000
    (late,) = ledger.verify_lines(await kept.export()).late
    assert not late.is_first
    marks = [statements.Mark(late.seq, "0" * 64)]
    with pytest.raises(chain.Broken, match="kept from earlier"):
        ledger.verify_lines(await kept.export(), kept=marks)
