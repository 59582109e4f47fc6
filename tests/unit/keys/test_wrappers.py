"""Data keys under two KMS keys: the loss of either loses nothing, and moving from one to another needs no pause."""

from collections.abc import Mapping

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import data_key_rows, kms
from keys.changes import Author
from keys.data_key_rows import StoredDataKey
from keys.data_keys import Lifetimes
from keys.rewrapping import RewrappedMeanwhile, Rewrapping
from keys.wrappers import Wrappers
from storage import engine as storage_engine
from storage import schema
from tests.support.custody import FakeKms, Room, build_room

OPERATOR = Author("operator", "moving house")


async def list_keys(room: Room) -> list[StoredDataKey]:
    async with storage_engine.reading(room.engine) as conn:
        return await data_key_rows.list_all(conn)


def wrapped_by(stored: StoredDataKey) -> list[str]:
    return sorted(each.kms_key for each in stored.wrappings)


async def actions(room: Room) -> list[str]:
    async with storage_engine.reading(room.engine) as conn:
        query = sa.select(schema.audit_events.c.action).order_by(schema.audit_events.c.seq)
        return list((await conn.execute(query)).scalars())


async def test_a_new_data_key_is_wrapped_by_both(engine: AsyncEngine) -> None:
    """The primary makes it, the second wraps it too, each in its own row."""
    one, two = FakeKms("one"), FakeKms("two")
    room = build_room(engine, wrappers=Wrappers(one, two))
    made = await room.data_keys.get_current("paper")
    [stored] = await list_keys(room)
    assert wrapped_by(stored) == ["one", "two"]
    for left in (one, two):
        opened = await build_room(engine, wrappers=Wrappers(left)).data_keys.get(made.id)
        assert opened.reveal() == made.key.reveal()


@pytest.mark.parametrize("away", ["one", "two"])
async def test_without_one_of_them_no_data_key_is_made(engine: AsyncEngine, away: str) -> None:
    """Half a promise is none: nothing is stored, and the failure says what for."""
    one, two = FakeKms("one"), FakeKms("two")
    room = build_room(engine, wrappers=Wrappers(one, two))
    {"one": one, "two": two}[away].down = True
    with pytest.raises(kms.KmsUnavailable, match="no data key for paper can be made"):
        await room.data_keys.get_current("paper")
    assert await list_keys(room) == []


@pytest.mark.parametrize("lost", ["down", "refusing"])
async def test_the_second_opens_what_the_primary_does_not(
    engine: AsyncEngine, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A node starts without the primary, says so, and is degraded until it is back."""
    one, two = FakeKms("one"), FakeKms("two")
    made = await build_room(engine, wrappers=Wrappers(one, two)).data_keys.get_current("paper")
    setattr(one, lost, True)
    node = build_room(engine, wrappers=Wrappers(one, two), lifetimes=Lifetimes(1_000, 0))
    assert (await node.data_keys.get(made.id)).reveal() == made.key.reveal()
    assert node.data_keys.degraded
    assert "fake key one" in caplog.text
    setattr(one, lost, False)
    node.clock.now_ms += 1_000
    await node.data_keys.recheck()
    assert not node.data_keys.degraded


async def test_a_lost_second_is_noticed(engine: AsyncEngine) -> None:
    """It is asked along with the primary, before it is needed; data keys stay confirmed by the primary alone."""
    one, two = FakeKms("one"), FakeKms("two")
    node = build_room(engine, wrappers=Wrappers(one, two), lifetimes=Lifetimes(1_000, 0))
    await node.data_keys.get_current("paper")
    two.refusing = True
    node.clock.now_ms += 1_000
    await node.data_keys.recheck()
    assert node.data_keys.degraded
    assert (await node.data_keys.get_current("paper")).id


async def test_with_both_away_it_is_not_decided(engine: AsyncEngine) -> None:
    """One that refuses does not make the other's silence a no."""
    one, two = FakeKms("one"), FakeKms("two")
    made = await build_room(engine, wrappers=Wrappers(one, two)).data_keys.get_current("paper")
    one.refusing, two.down = True, True
    with pytest.raises(kms.KmsUnavailable, match="fake key two cannot be asked"):
        await build_room(engine, wrappers=Wrappers(one, two)).data_keys.get(made.id)


async def test_a_wrapping_is_given_only_to_the_key_that_made_it(engine: AsyncEngine) -> None:
    """A stranger is not even asked; the refusal names both."""
    stranger = FakeKms("stranger")
    room = build_room(engine)
    made = await room.data_keys.get_current("paper")
    with pytest.raises(kms.KmsRefused, match="wrapped by fake key fake-key; configured is fake key stranger"):
        await build_room(engine, wrappers=Wrappers(stranger)).data_keys.get(made.id)
    assert stranger.calls == 0


async def test_rewrapping_adds_what_is_missing(engine: AsyncEngine) -> None:
    """Every data key is wrapped by the new key, the old wrapping stays, and a second run finds nothing to do."""
    old, new, also = FakeKms("old"), FakeKms("new"), FakeKms("also")
    room = build_room(engine, wrappers=Wrappers(old))
    made = [await room.data_keys.get_current(domain) for domain in ("paper", "live", "service")]
    wrappers = Wrappers(new, also, (old,))
    rewrapping = Rewrapping(engine, wrappers, room.changes)
    done = await rewrapping.run(remove_old=False, author=OPERATOR)
    assert (done.data_keys, done.added, done.removed) == (3, 6, 0)
    assert {tuple(wrapped_by(stored)) for stored in await list_keys(room)} == {("also", "new", "old")}
    again = await rewrapping.run(remove_old=False, author=OPERATOR)
    assert (again.added, again.removed) == (0, 0)
    assert (await actions(room)).count("data_key.rewrapped") == 3
    for backend in (old, new, also):
        node = build_room(engine, wrappers=Wrappers(backend))
        for data_key in made:
            assert (await node.data_keys.get(data_key.id)).reveal() == data_key.key.reveal()


async def test_old_wrappings_go_only_on_request(engine: AsyncEngine) -> None:
    """And then the old key opens nothing more."""
    old, new = FakeKms("old"), FakeKms("new")
    room = build_room(engine, wrappers=Wrappers(old))
    made = await room.data_keys.get_current("paper")
    rewrapping = Rewrapping(engine, Wrappers(new, None, (old,)), room.changes)
    done = await rewrapping.run(remove_old=True, author=OPERATOR)
    assert (done.added, done.removed) == (1, 1)
    assert [wrapped_by(stored) for stored in await list_keys(room)] == [["new"]]
    opened = await build_room(engine, wrappers=Wrappers(new)).data_keys.get(made.id)
    assert opened.reveal() == made.key.reveal()
    assert (await actions(room))[-2:] == ["data_key.rewrapped", "data_key.unwrapped"]


async def test_a_wrapping_that_does_not_open_is_never_stored(engine: AsyncEngine) -> None:
    """A KMS that answers with another key than it was given is found out before anybody relies on it."""

    class Forgetful(FakeKms):
        context: Mapping[str, str]

        async def wrap(self, *_: object) -> bytes:
            return (await self.generate_data_key(self.context)).wrapped

    old, new = FakeKms("old"), Forgetful("new")
    room = build_room(engine, wrappers=Wrappers(old))
    await room.data_keys.get_current("paper")
    [stored] = await list_keys(room)
    new.context = stored.context
    with pytest.raises(kms.KmsRefused, match="another key than it was given"):
        await Rewrapping(engine, Wrappers(new, None, (old,)), room.changes).run(
            remove_old=True, author=OPERATOR
        )
    assert [wrapped_by(each) for each in await list_keys(room)] == [["old"]]


async def test_an_old_wrapping_stays_while_the_new_one_does_not_open(engine: AsyncEngine) -> None:
    """What is stored is opened, not what was once made: bytes that were spoilt in between keep the old one alive."""
    old, new = FakeKms("old"), FakeKms("new")
    room = build_room(engine, wrappers=Wrappers(old))
    await room.data_keys.get_current("paper")
    rewrapping = Rewrapping(engine, Wrappers(new, None, (old,)), room.changes)
    await rewrapping.run(remove_old=False, author=OPERATOR)
    async with storage_engine.transaction(engine) as conn:
        spoilt = schema.data_key_wrappings.c.kms_key == "new"
        await conn.execute(sa.update(schema.data_key_wrappings).where(spoilt).values(wrapped=b"spoilt"))
    with pytest.raises(kms.KmsRefused):
        await rewrapping.run(remove_old=True, author=OPERATOR)
    assert [wrapped_by(stored) for stored in await list_keys(room)] == [["new", "old"]]


async def test_a_rewrap_that_ends_early_goes_on_where_it_was(engine: AsyncEngine) -> None:
    """Every data key opens in between, and nothing is done twice."""
    old, new = FakeKms("old"), FakeKms("new")
    room = build_room(engine, wrappers=Wrappers(old))
    made = [await room.data_keys.get_current(domain) for domain in ("paper", "live", "service")]

    class Ending(FakeKms):
        async def wrap(self, *given: object) -> bytes:
            if self.calls >= 2:
                raise kms.KmsUnavailable("it ends here")
            return await new.wrap(*given)  # type: ignore[arg-type]

        async def unwrap(self, *given: object):  # type: ignore[no-untyped-def]  # noqa: ANN202
            self.calls += 1
            return await new.unwrap(*given)  # type: ignore[arg-type]

    with pytest.raises(kms.KmsUnavailable):
        await Rewrapping(engine, Wrappers(Ending("new"), None, (old,)), room.changes).run(
            remove_old=True, author=OPERATOR
        )
    assert sorted(len(stored.wrappings) for stored in await list_keys(room)) == [1, 2, 2]
    wrappers = Wrappers(new, None, (old,))
    for data_key in made:
        await build_room(engine, wrappers=wrappers).data_keys.get(data_key.id)
    done = await Rewrapping(engine, wrappers, room.changes).run(remove_old=True, author=OPERATOR)
    assert (done.added, done.removed) == (1, 3)


async def test_two_who_move_in_opposite_directions_do_not_meet_in_nothing(engine: AsyncEngine) -> None:
    """Each verified that its own key opens; the one who comes second must not remove what the first relies on."""
    old, new = FakeKms("old"), FakeKms("new")
    room = build_room(engine, wrappers=Wrappers(old))
    await room.data_keys.get_current("paper")
    there = Rewrapping(engine, Wrappers(new, None, (old,)), room.changes)
    back = Rewrapping(engine, Wrappers(old, None, (new,)), room.changes)
    await there.run(remove_old=False, author=OPERATOR)
    [before] = await list_keys(room)
    await back._remove_old(before, OPERATOR)
    with pytest.raises(RewrappedMeanwhile):
        await there._remove_old(before, OPERATOR)
    assert [wrapped_by(stored) for stored in await list_keys(room)] == [["old"]]
