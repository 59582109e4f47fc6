"""One mind behind two names: as far as the ledger can tell."""

import os

import pytest

from keys import approvals, identities
from keys.approval_records import Wanted
from keys.changes import Author
from keys.rotations import Wish
from storage import engine
from tests.support.custody import Room, make_request


async def make_key(room: Room, maker: str, *, approval: str | None = None) -> str:
    """An operator's key, as an actor."""
    asked = make_request(partner="acme", environment="live", algorithm="hmac-sha256", roles=("operator",))
    made = await room.custody.create_key(asked, author=Author(maker, approval=approval))
    return f"key:{made.key.id}"


async def are_one(room: Room, one: str, other: str) -> bool:
    async with engine.reading(room.engine) as conn:
        answers = {
            await identities.may_be_one_mind(conn, one, other),
            await identities.may_be_one_mind(conn, other, one),
        }
    assert len(answers) == 1
    return answers.pop()


async def test_a_key_speaks_for_whoever_made_it_alone(room: Room) -> None:
    """Whether it asks or decides, and over any number of steps; two keys of one maker are one mind, too."""
    first = await make_key(room, "cli:alice")
    second = await make_key(room, "cli:alice")
    through = await make_key(room, first)
    assert await are_one(room, "cli:alice", first)
    assert await are_one(room, "cli:alice", through)
    assert await are_one(room, second, through)
    assert not await are_one(room, "cli:bob", through)


async def test_a_key_that_two_agreed_on_speaks_for_itself(room: Room) -> None:
    """The second person has seen whom it is for; one made under break-glass nobody has seen."""
    approved = await make_key(room, "cli:alice", approval="apr_x")
    alone = await make_key(room, "cli:alice", approval="break-glass:brg_x")
    assert not await are_one(room, "cli:alice", approved)
    assert await are_one(room, "cli:alice", alone)


async def test_a_key_speaks_for_whoever_was_shown_its_new_secret_too(room: Room) -> None:
    """Or somebody rotates another's key, asks as that key, and approves as themselves."""
    made = await make_key(room, "cli:bob")
    key_id = made.removeprefix("key:")
    await room.rotations.rotate(key_id, author=Author("cli:carol", approval="apr_x"))
    assert not await are_one(room, "cli:carol", made)
    await room.rotations.rotate(key_id, Wish(even_if_used=True, overlap_ms=0), author=Author("cli:alice"))
    assert await are_one(room, "cli:alice", made)
    assert await are_one(room, "cli:bob", made)


@pytest.mark.parametrize(("one", "other"), [("cli:alice", "cli:ALICE"), ("cli:unknown", "cli:unknown")])
async def test_accounts_are_compared_without_case(room: Room, one: str, other: str) -> None:
    """Directories of accounts are."""
    assert await are_one(room, one, other)
    assert not await are_one(room, one, "cli:bob")
    assert not await are_one(room, one, f"key:{one}")


async def test_nobody_approves_by_a_key_that_they_made(room: Room) -> None:
    """The way round four eyes that needs only the right to make keys."""
    desk = approvals.Approvals(room.engine, room.changes, os.urandom)
    key = await make_key(room, "cli:alice")
    wanted = Wanted(action="partner.unfreeze", subject="acme", partner="acme")
    asked = await desk.request(wanted, wait_ms=1_000, author=Author("cli:alice"))
    with pytest.raises(approvals.SelfApproval):
        await desk.approve(asked.id, author=Author(key))
    reverse = await desk.request(wanted, wait_ms=1_000, author=Author(key))
    with pytest.raises(approvals.SelfApproval):
        await desk.approve(reverse.id, author=Author("cli:alice"))
    await desk.approve(reverse.id, author=Author("cli:bob"))


def test_the_digest_covers_all_that_is_wanted() -> None:
    """Any difference makes another one; the order of members does not."""
    base = {"action": "key.widen", "subject": "prk_1", "environment": "live", "partner": "acme"}
    digests = {
        Wanted(**base | other).digest()
        for other in (
            {},
            {"action": "key.change"},
            {"subject": "prk_2"},
            {"environment": "paper"},
            {"partner": "zephyr"},
            {"partner": None},
            {"change": {"a": 1}},
            {"change": {"a": "1"}},
            {"change": {"a": None}},
        )
    }
    assert len(digests) == 9
    one, other = ({"a": 1, "b": [2, {"c": 3, "d": 4}]}, {"b": [2, {"d": 4, "c": 3}], "a": 1})
    assert (
        Wanted(action="x", subject="y", change=one).digest()
        == Wanted(action="x", subject="y", change=other).digest()
    )
