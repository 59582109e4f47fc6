"""Signed reports of found credentials: one that comes again is answered as it was, and changes nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from keys import conditions, leak_reports, leaks
from keys.changes import Author
from keys.leak_reports import SignedReport
from keys.leaks import Leaks, Suspect
from keys.secret import Secret
from storage import engine, schema
from tests.support.custody import Room

SCANNER = Author("scanner:github", "found in public")
FIRST = SignedReport("github", "a" * 64)
DAY_MS = 86_400_000


async def leaked(room: Room) -> tuple[str, str]:
    made = await room.create_key()
    assert made.secret is not None
    return made.key.id, made.secret.reveal()


async def send(
    room: Room, *texts: str, signed: SignedReport | None = FIRST, place: str = "a/repository"
) -> list[leaks.Verdict]:
    found = Leaks(room.engine, room.data_keys, room.changes, os.urandom)
    return await found.report([Suspect(Secret(text), place) for text in texts], author=SCANNER, signed=signed)


async def thaw(room: Room, key_id: str) -> None:
    await room.custody.unfreeze_key(key_id, author=Author("cli:ada", "two persons have looked"))


async def is_frozen(room: Room, key_id: str) -> bool:
    return (await room.custody.get_key(key_id)).frozen_at is not None


async def count_finds(room: Room) -> int:
    query = sa.select(sa.func.count()).where(schema.audit_events.c.action == "leak.found")
    async with engine.reading(room.engine) as conn:
        return int((await conn.execute(query)).scalar_one())


async def remembered(room: Room) -> list[str]:
    async with engine.reading(room.engine) as conn:
        return list((await conn.execute(sa.select(schema.settled_requests.c.key))).scalars())


async def test_a_captured_report_takes_back_no_unfreezing(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the answer it had, nothing is recorded, and no sealed secret is opened for it."""
    key_id, secret = await leaked(room)
    first = await send(room, secret, "noise")
    await thaw(room, key_id)

    async def refuse(*_: object) -> list[object]:
        raise AssertionError("secrets were looked through")

    monkeypatch.setattr(Leaks, "_find", refuse)
    for _ in range(3):
        assert await send(room, secret, "noise") == first
    assert not await is_frozen(room, key_id)
    assert await count_finds(room) == 1


async def test_a_new_report_freezes_again(room: Room) -> None:
    """Of the same find, too: whoever signed it says that it is still there. So does another scanner's."""
    key_id, secret = await leaked(room)
    await send(room, secret)
    for number, signed in enumerate((SignedReport("github", "b" * 64), SignedReport("gitlab", "a" * 64)), 2):
        await thaw(room, key_id)
        assert (await send(room, secret, signed=signed))[0].outcome == "frozen"
        assert await count_finds(room) == number


async def test_a_report_that_changed_nothing_is_remembered_too(room: Room) -> None:
    """The key was frozen when it came: kept by a stranger until it is not, it freezes nothing."""
    key_id, secret = await leaked(room)
    await send(room, secret)
    second = SignedReport("github", "b" * 64)
    assert (await send(room, secret, signed=second))[0].outcome == "was-frozen"
    assert await count_finds(room) == 1
    await thaw(room, key_id)
    assert (await send(room, secret, signed=second))[0].outcome == "was-frozen"
    assert not await is_frozen(room, key_id)


async def test_a_find_is_recorded_once_for_each_place(room: Room) -> None:
    """And again when the key stands differently; by whomever it is reported."""
    key_id, secret = await leaked(room)
    for number in range(3):
        await send(room, secret, signed=SignedReport("github", f"{number}" * 64))
        await send(room, secret, signed=None)
    assert await count_finds(room) == 1
    await send(room, secret, signed=None, place="another/repository")
    assert await count_finds(room) == 2
    await room.custody.revoke_key(key_id, author=Author("cli:ada"))
    for _ in range(2):
        await send(room, secret, signed=None)
    assert await count_finds(room) == 3


async def test_copies_that_come_at_once_are_one_report(room: Room) -> None:
    """One of them freezes; all get its answer, and so do copies of what is none of ours."""
    _, secret = await leaked(room)
    answers = await asyncio.gather(*(send(room, secret) for _ in range(4)))
    assert [answer[0].outcome for answer in answers] == ["frozen"] * 4
    assert await count_finds(room) == 1
    noise = SignedReport("github", "c" * 64)
    assert (
        await asyncio.gather(*(send(room, "noise", signed=noise) for _ in range(4)))
        == [[leak_reports.UNKNOWN]] * 4
    )
    assert sorted(await remembered(room)) == ["a" * 64, "c" * 64]


async def test_a_copy_under_way_takes_back_no_unfreezing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked through before its twin was answered, and comes to act when the key was thawed since."""
    key_id, secret = await leaked(room)
    looked, go_on = asyncio.Event(), asyncio.Event()
    find = Leaks._find

    async def wait(self: Leaks, suspects: Sequence[Suspect]) -> Sequence[object]:
        found = await find(self, suspects)
        if not looked.is_set():
            looked.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(Leaks, "_find", wait)
    late = asyncio.create_task(send(room, secret))
    await looked.wait()
    first = await send(room, secret)
    await thaw(room, key_id)
    go_on.set()
    assert await late == first
    assert not await is_frozen(room, key_id)
    assert await count_finds(room) == 1


async def test_a_report_is_remembered_for_400_days(room: Room) -> None:
    """Until its last moment it takes back nothing; what found nothing goes after a day."""
    key_id, secret = await leaked(room)
    await send(room, secret)
    await send(room, "noise", signed=SignedReport("github", "c" * 64))
    await thaw(room, key_id)
    room.clock.now_ms += leak_reports.REMEMBERED_MS - 1
    await send(room, "noise", signed=SignedReport("github", "d" * 64))
    assert sorted(await remembered(room)) == ["a" * 64, "d" * 64]
    assert (await send(room, secret))[0].outcome == "frozen"
    assert not await is_frozen(room, key_id)


async def test_what_may_be_an_old_report_takes_back_no_unfreezing(room: Room) -> None:
    """The memory of reports is over, and the ledger still knows the find, and that somebody has decided since."""
    key_id, secret = await leaked(room)
    await send(room, secret)
    await thaw(room, key_id)
    room.clock.now_ms += leak_reports.REMEMBERED_MS
    assert (await send(room, secret))[0].outcome == "handled"
    assert not await is_frozen(room, key_id)
    assert await count_finds(room) == 1
    # Elsewhere it is another find, and an operator's word is none that anybody captured.
    assert (await send(room, secret, signed=SignedReport("github", "e" * 64), place="b"))[
        0
    ].outcome == "frozen"
    await thaw(room, key_id)
    assert (await send(room, secret, signed=None))[0].outcome == "frozen"


async def test_other_memories_do_not_shorten_that_of_reports(room: Room) -> None:
    """A create that is settled clears away its own kind, after a day."""
    key_id, secret = await leaked(room)
    await send(room, secret)
    await thaw(room, key_id)
    room.clock.now_ms += 2 * DAY_MS
    once = conditions.OnlyOnce("key:prk_live_x", "once", "digest", "api_key.frozen")
    await room.custody.freeze_key(key_id, author=Author("officer", condition=once))
    assert sorted(await remembered(room)) == ["a" * 64, "once"]


async def test_nothing_that_was_found_is_remembered(room: Room) -> None:
    """Neither a secret nor what may be one of somebody else's."""
    _, secret = await leaked(room)
    await send(room, secret, "ghp_somebody-elses")
    async with engine.reading(room.engine) as conn:
        rows = str((await conn.execute(sa.select(schema.settled_requests))).all())
    assert secret not in rows
    assert "somebody" not in rows
