"""Lists of secrets and of what is planned of them, a page at a time, over a real store of either kind."""

import msgspec
import pytest
import sqlalchemy as sa

from keys import secret_pages, versions
from keys.api_key_secrets import ApiKeySecrets
from keys.changes import Author
from keys.due import Action
from keys.rotations import Wish
from keys.schedules import DAY_MS, Schedules
from keys.secret_pages import SecretPages, Wanted
from storage import engine
from tests.support.custody import START_MS, Room
from tests.support.rotated import OFFICER, used


@pytest.fixture
def pages(room: Room) -> SecretPages:
    kind = ApiKeySecrets(room.engine, room.data_keys, lambda size: b"x" * size)
    return SecretPages(room.engine, room.clock, {"api-key": kind}, Schedules())


async def walk(pages: SecretPages, wanted: Wanted, limit: int) -> list[list[str]]:
    found, after = [], None
    while True:
        page = await pages.find_page(wanted, after=after, limit=limit)
        found.append([secret.id for secret in page.secrets])
        after = page.after
        if after is None:
            return found


async def walk_plan(pages: SecretPages, wanted: Wanted, until_ms: int, limit: int) -> list[Action]:
    page = await pages.plan_page(wanted, until_ms, limit=limit)
    found = [*page.actions]
    while page.after is not None:
        page = await pages.plan_page(wanted, until_ms, after=page.after, limit=limit)
        found += page.actions
    return found


async def test_pages_follow_one_another(room: Room, pages: SecretPages) -> None:
    """Oldest first, each secret once, also those of one moment; what is made meanwhile comes last."""
    made = []
    for moment in (0, 0, 0, 1, 2):
        room.clock.now_ms = START_MS + moment
        made.append((await room.create_key()).key.id)
    expected = [*sorted(made[:3]), *made[3:]]
    found = await walk(pages, Wanted(), 2)
    assert found == [expected[:2], expected[2:4], expected[4:]]
    assert await walk(pages, Wanted(), 5) == [expected]
    first = await pages.find_page(Wanted(), limit=4)
    late = (await room.create_key()).key.id
    second = await pages.find_page(Wanted(), after=first.after, limit=4)
    assert {secret.id for secret in second.secrets} == {expected[4], late}


async def test_a_page_holds_the_versions_of_its_secrets_alone(room: Room, pages: SecretPages) -> None:
    """With their states and their use, by two statements, however many secrets there are."""
    keys = [(await room.create_key()).key.id for _ in range(6)]
    for key_id in keys:
        await room.rotations.rotate(key_id, author=OFFICER)
    await used(room, keys[0], 1, START_MS)
    asked: list[object] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        asked.extend([statement] if statement.startswith("SELECT secret") else [])

    sa.event.listen(room.engine.sync_engine, "after_cursor_execute", note)
    page = await pages.find_page(Wanted(), limit=2)
    sa.event.remove(room.engine.sync_engine, "after_cursor_execute", note)
    assert [len(secret.versions) for secret in page.secrets] == [2, 2]
    assert len(asked) == 2
    (mine,) = [one for one in (await pages.find_page(Wanted())).secrets if one.id == keys[0]]
    assert (mine.versions[0].state, mine.versions[0].use_count) == ("retiring", 1)


async def test_a_list_is_narrowed(room: Room, pages: SecretPages) -> None:
    """By kind, environment, partner, and the state of any version; all of it together."""
    await room.custody.create_partner("zephyr", "Zephyr", "standard", author=Author("operator"))
    await room.ring().ensure(author=Author("setup"))
    paper, live = (await room.create_key()).key.id, (await room.create_key(environment="live")).key.id
    theirs = (await room.create_key(partner="zephyr")).key.id
    await room.rotations.rotate(live, author=OFFICER)

    async def found(**wanted: str) -> set[str]:
        return {one for page in await walk(pages, msgspec.convert(wanted, Wanted), 2) for one in page}

    assert await found(kind="api-key") == {paper, live, theirs}
    assert await found(environment="live") == {live}
    assert await found(environment="service") == await found(kind="ring") != set()
    assert await found(partner="zephyr") == {theirs}
    assert await found(state="retiring") == {live}
    assert await found(state="active", partner="acme", environment="paper") == {paper}
    assert await found(state="destroyed") == set()


async def test_a_page_begins_behind_a_secret_that_is_there(pages: SecretPages) -> None:
    with pytest.raises(versions.UnknownSecret):
        await pages.find_page(Wanted(), after="prk_nobody")


@pytest.mark.parametrize("days", [1, 8, 30, 80, 400])
async def test_the_pages_of_a_plan_are_the_plan(room: Room, pages: SecretPages, days: int) -> None:
    """Whatever is told at once is told page by page: overlaps, warnings, expiries that lie before the horizon."""
    for changes in ({}, {"expires_at": START_MS + 5 * DAY_MS}, {"expires_at": START_MS + 35 * DAY_MS}):
        await room.create_key(**changes)
    rotated, prepared, revoked = [(await room.create_key(environment="live")).key.id for _ in range(3)]
    await room.rotations.rotate(rotated, author=OFFICER)
    room.clock.now_ms += DAY_MS
    await used(room, rotated, 1, room.clock.now_ms)
    wish = Wish(activates_at=room.clock.now_ms + 3 * DAY_MS)
    await room.rotations.rotate(prepared, wish, author=OFFICER)
    await room.rotations.revoke(revoked, author=OFFICER)
    until_ms = room.clock.now_ms + days * DAY_MS
    whole = await room.rotations.plan(until_ms)
    assert whole or days == 1
    told = await walk_plan(pages, Wanted(), until_ms, 1)
    assert sorted(told, key=lambda action: (action.at, action.secret_id)) == list(whole)
    live = [action for action in whole if action.environment == "live"]
    narrowed = await walk_plan(pages, Wanted(environment="live"), until_ms, 2)
    assert sorted(narrowed, key=lambda action: (action.at, action.secret_id)) == live


async def test_the_revision_of_a_secret_moves_with_its_versions(room: Room) -> None:
    """And with nothing else: use does not change it."""
    key_id = (await room.create_key()).key.id

    async def find(secret_id: str) -> int | None:
        async with engine.reading(room.engine) as conn:
            return await secret_pages.find_revision(conn, secret_id)

    before = await find(key_id)
    await used(room, key_id, 1, START_MS)
    assert await find(key_id) == before
    await room.rotations.rotate(key_id, author=OFFICER)
    assert (await find(key_id) or 0) > (before or 0)
    assert await find("prk_nobody") is None
