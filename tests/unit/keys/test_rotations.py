"""Rotating API keys' secrets over a real store of either kind."""

import json

import pytest
import sqlalchemy as sa

from keys import api_keys, evidence, rotation, rotations, versions
from keys import format as key_format
from keys.records import CreatedKey
from keys.rotations import Wish
from keys.schedules import DAY_MS, HOUR_MS, Schedules
from storage import engine, revision, schema
from tests.support.custody import START_MS, Room
from tests.support.rotated import OFFICER, WEEK_MS, events, rows, served, states, used


@pytest.fixture
async def made(room: Room) -> CreatedKey:
    return await room.create_key()


async def test_a_rotation_gives_a_new_secret_and_leaves_the_old_one(room: Room, made: CreatedKey) -> None:
    """The new version is active at once, the old one verifies for the schedule's overlap; both are served."""
    rotated = await room.rotations.rotate(made.key.id, author=OFFICER)
    assert rotated.shown is not None
    assert key_format.parse_secret(rotated.shown.reveal()) == "paper"
    assert (rotated.version, rotated.replaced) == (2, 1)
    old, new = rotated.secret.versions
    assert (old.state, old.retires_at) == ("retiring", START_MS + WEEK_MS)
    assert (new.state, new.activated_at) == ("active", START_MS)
    assert [version for version, _ in (await served(room, made.key.id)).verifiers] == [1, 2]


async def test_the_new_secret_opens_as_what_was_shown(room: Room, made: CreatedKey) -> None:
    """It is sealed for its own number, and for no other."""
    rotated = await room.rotations.rotate(made.key.id, author=OFFICER)
    row = (await rows(room, made.key.id))[1]
    data_key = await room.data_keys.get(row["data_key_id"])
    bound = {"key_id": made.key.id, "environment": "paper"}
    assert rotated.shown is not None
    assert (
        api_keys.open_secret(data_key, row["ciphertext"], version=2, **bound)
        == rotated.shown.reveal().encode()
    )
    with pytest.raises(Exception, match="does not open"):
        api_keys.open_secret(data_key, row["ciphertext"], version=1, **bound)


async def test_no_secret_reaches_the_ledger_or_a_repr(room: Room, made: CreatedKey) -> None:
    """Neither the old one nor the new one, in events, rows or values."""
    rotated = await room.rotations.rotate(made.key.id, author=OFFICER)
    assert rotated.shown is not None
    everything = json.dumps(await events(room)) + repr(rotated) + repr(await rows(room, made.key.id))
    assert rotated.shown.reveal()[10:30] not in everything


async def test_a_rotation_is_told_in_the_ledger(room: Room, made: CreatedKey) -> None:
    """Whose, which version, what it replaces and how that one was used, until when it goes on, why."""
    await used(room, made.key.id, 1, START_MS - 5)
    await room.rotations.rotate(made.key.id, author=OFFICER)
    event = (await events(room))[-1]
    assert [event[name] for name in ("action", "subject", "partner", "environment", "reason")] == [
        "secret.rotated", made.key.id, "acme", "paper", "time to",
    ]  # fmt: skip
    assert event["details"] == {
        "kind": "api-key",
        "version": 2,
        "replaced": {
            "version": 1,
            "last_used_at": START_MS - 5,
            "last_used_source": "198.51.100.7",
            "use_count": 1,
        },
        "overlap_ends": START_MS + WEEK_MS,
        "ended": [],
        "even_if_used": False,
    }


async def test_every_step_advances_what_nodes_follow(room: Room, made: CreatedKey) -> None:
    """The secret's revision and the key's are the revision of the change."""

    async def stamps() -> set[int]:
        async with engine.reading(room.engine) as conn:
            wanted = [
                sa.select(table.c.revision).where(table.c.id == made.key.id)
                for table in (schema.secrets, schema.api_keys)
            ]
            found = {(await conn.execute(query)).scalar_one() for query in wanted}
            return found | {await revision.current(conn)}

    await room.rotations.rotate(made.key.id, Wish(prepare=True), author=OFFICER)
    assert len(await stamps()) == 1
    await room.rotations.activate(made.key.id, author=OFFICER)
    assert len(await stamps()) == 1
    await room.rotations.retire(made.key.id, author=OFFICER)
    assert len(await stamps()) == 1
    await room.rotations.destroy(made.key.id, 1, author=OFFICER)
    assert len(await stamps()) == 1


async def test_a_following_node_learns_of_a_rotation(room: Room, made: CreatedKey) -> None:
    """One refresh after it, the node serves both versions; after the retirement, only the new one."""
    directory = room.another_node().directory()
    await directory.load()
    await room.rotations.rotate(made.key.id, author=OFFICER)
    await directory.refresh()
    found = directory.find(made.key.id)
    assert found is not None
    assert [version for version, _ in found.verifiers] == [1, 2]
    await room.rotations.retire(made.key.id, author=OFFICER)
    await directory.refresh()
    found = directory.find(made.key.id)
    assert found is not None
    assert [version for version, _ in found.verifiers] == [2]


async def test_the_overlap_is_the_callers_within_bounds(room: Room, made: CreatedKey) -> None:
    """Nothing beyond the schedule's longest, nothing negative; none at all ends the old one at once."""
    for overlap_ms in (-1, 31 * DAY_MS):
        with pytest.raises(rotations.InvalidOverlap):
            await room.rotations.rotate(made.key.id, Wish(overlap_ms=overlap_ms), author=OFFICER)
    assert await states(room, made.key.id) == ["active"]
    await room.rotations.rotate(made.key.id, Wish(overlap_ms=0), author=OFFICER)
    assert await states(room, made.key.id) == ["revoked", "active"]


async def test_a_prepared_version_does_not_verify(room: Room, made: CreatedKey) -> None:
    """Its secret is shown when it is made, and counts only once it is active."""
    rotated = await room.rotations.rotate(made.key.id, Wish(prepare=True, overlap_ms=HOUR_MS), author=OFFICER)
    assert rotated.shown is not None
    assert await states(room, made.key.id) == ["active", "pending"]
    assert [version for version, _ in (await served(room, made.key.id)).verifiers] == [1]
    await room.rotations.activate(made.key.id, author=OFFICER)
    old, _ = await rows(room, made.key.id)
    assert (old["state"], old["retires_at"]) == ("retiring", START_MS + HOUR_MS)
    assert [event["action"] for event in await events(room)][-2:] == ["secret.announced", "secret.activated"]


async def test_only_one_version_waits(room: Room, made: CreatedKey) -> None:
    """A second rotation while one is prepared is refused by its name, and so is activating nothing."""
    with pytest.raises(rotation.StepRefused, match="no version is pending"):
        await room.rotations.activate(made.key.id, author=OFFICER)
    await room.rotations.rotate(made.key.id, Wish(prepare=True), author=OFFICER)
    with pytest.raises(rotation.StepRefused, match="pending already"):
        await room.rotations.rotate(made.key.id, author=OFFICER)
    await room.rotations.revoke(made.key.id, 2, author=OFFICER)
    await room.rotations.rotate(made.key.id, author=OFFICER)
    assert await states(room, made.key.id) == ["retiring", "revoked", "active"]


async def test_a_moment_of_activation_lies_ahead(room: Room, made: CreatedKey) -> None:
    """Not in the past, and not before the end of an overlap that still runs."""
    with pytest.raises(rotations.InvalidActivation, match="passed"):
        await room.rotations.rotate(made.key.id, Wish(activates_at=START_MS), author=OFFICER)
    await room.rotations.rotate(made.key.id, author=OFFICER)
    with pytest.raises(rotations.InvalidActivation, match="version 1 verifies until"):
        await room.rotations.rotate(made.key.id, Wish(activates_at=START_MS + WEEK_MS - 1), author=OFFICER)
    await room.rotations.rotate(made.key.id, Wish(activates_at=START_MS + WEEK_MS), author=OFFICER)
    assert await states(room, made.key.id) == ["retiring", "active", "pending"]


async def test_a_version_in_use_is_not_retired_unsaid(room: Room, made: CreatedKey) -> None:
    """The refusal says whose it is, when and from where it was used and how often; saying so goes through, audited."""
    await used(room, made.key.id, 1, START_MS - DAY_MS + 1, source="203.0.113.9")
    await room.rotations.rotate(made.key.id, author=OFFICER)
    with pytest.raises(evidence.StillUsed) as caught:
        await room.rotations.retire(made.key.id, author=OFFICER)
    for word in ("version 1", made.key.id, "partner acme", "203.0.113.9", "once", "2025-11-19T00:00:00Z"):
        assert word in str(caught.value)
    assert await states(room, made.key.id) == ["retiring", "active"]
    await room.rotations.retire(made.key.id, even_if_used=True, author=OFFICER)
    event = (await events(room))[-1]
    assert (event["action"], event["details"]["even_if_used"]) == ("secret.retired", True)
    assert event["details"]["last_used_source"] == "203.0.113.9"


async def test_a_version_long_unused_is_retired(room: Room, made: CreatedKey) -> None:
    """The guard reaches back so far and no further; a use that the store cannot know yet is within its slack."""
    await used(room, made.key.id, 1, START_MS)
    await room.rotations.rotate(made.key.id, author=OFFICER)
    room.clock.now_ms += DAY_MS + evidence.SLACK_MS
    with pytest.raises(evidence.StillUsed):
        await room.rotations.retire(made.key.id, author=OFFICER)
    room.clock.now_ms += 1
    await room.rotations.retire(made.key.id, author=OFFICER)
    assert await states(room, made.key.id) == ["revoked", "active"]


async def test_a_second_rotation_does_not_end_a_used_version_unsaid(room: Room, made: CreatedKey) -> None:
    """A partner still on the oldest of three would break: refused unless it is said, and told who it was."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    await used(room, made.key.id, 1, START_MS)
    with pytest.raises(evidence.StillUsed, match="version 1"):
        await room.rotations.rotate(made.key.id, author=OFFICER)
    await room.rotations.rotate(made.key.id, Wish(even_if_used=True), author=OFFICER)
    assert await states(room, made.key.id) == ["revoked", "retiring", "active"]
    ended = (await events(room))[-1]["details"]["ended"]
    assert [(each["version"], each["last_used_at"]) for each in ended] == [(1, START_MS)]


async def test_a_moment_without_overlap_does_not_cut_a_used_version_unsaid(
    room: Room, made: CreatedKey
) -> None:
    """When the moment comes nobody is asked, so whoever prepares it is; an overlap, or no moment, ends nothing."""
    await used(room, made.key.id, 1, START_MS)
    at = START_MS + WEEK_MS
    with pytest.raises(evidence.StillUsed, match="version 1"):
        await room.rotations.rotate(made.key.id, Wish(activates_at=at, overlap_ms=0), author=OFFICER)
    for number, wish in enumerate(
        (
            Wish(activates_at=at, overlap_ms=0, even_if_used=True),
            Wish(activates_at=at, overlap_ms=1),
            Wish(prepare=True, overlap_ms=0),
        ),
        start=2,
    ):
        await room.rotations.rotate(made.key.id, wish, author=OFFICER)
        await room.rotations.revoke(made.key.id, number, author=OFFICER)


async def test_no_overlap_does_not_cut_a_used_version_unsaid(room: Room, made: CreatedKey) -> None:
    """Ending it at once is refused like retiring it."""
    await used(room, made.key.id, 1, START_MS)
    with pytest.raises(evidence.StillUsed):
        await room.rotations.rotate(made.key.id, Wish(overlap_ms=0), author=OFFICER)
    await room.rotations.rotate(made.key.id, Wish(overlap_ms=0, even_if_used=True), author=OFFICER)
    assert await states(room, made.key.id) == ["revoked", "active"]


async def test_at_most_two_versions_are_ever_served(room: Room, made: CreatedKey) -> None:
    """However often a key is rotated within one overlap."""
    for _ in range(4):
        await room.rotations.rotate(made.key.id, author=OFFICER)
        assert len((await served(room, made.key.id)).verifiers) == 2


async def test_a_lost_secret_is_replaced_and_the_one_in_use_goes_on(room: Room, made: CreatedKey) -> None:
    """The version that never arrived ends; the one before it keeps its overlap, or gets the new one."""
    await room.rotations.rotate(made.key.id, Wish(overlap_ms=HOUR_MS), author=OFFICER)
    await used(room, made.key.id, 1, START_MS)
    rotated = await room.rotations.rotate(made.key.id, Wish(replaces_lost=True), author=OFFICER)
    assert [each.state for each in rotated.secret.versions] == ["retiring", "revoked", "active"]
    assert rotated.secret.versions[0].retires_at == START_MS + WEEK_MS
    assert (await events(room))[-1]["details"]["overlap_ends"] == START_MS + WEEK_MS
    assert [version for version, _ in (await served(room, made.key.id)).verifiers] == [1, 3]


async def test_what_is_used_was_not_lost(room: Room, made: CreatedKey) -> None:
    """Its holder has it: refused unless it is said; and what is lost is not replaced by what only waits."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    await used(room, made.key.id, 2, START_MS)
    with pytest.raises(evidence.StillUsed, match="version 2"):
        await room.rotations.rotate(made.key.id, Wish(replaces_lost=True), author=OFFICER)
    with pytest.raises(rotations.InvalidActivation):
        await room.rotations.rotate(made.key.id, Wish(replaces_lost=True, prepare=True), author=OFFICER)


async def test_a_prepared_version_takes_no_place_of_one_that_verifies(room: Room, made: CreatedKey) -> None:
    """While an overlap runs both go on being served, whatever waits beside them."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    await room.rotations.rotate(made.key.id, Wish(prepare=True), author=OFFICER)
    assert [version for version, _ in (await served(room, made.key.id)).verifiers] == [1, 2]


async def test_revoking_a_version_asks_for_nobodys_use(room: Room, made: CreatedKey) -> None:
    """What has leaked ends at once; the active one needs a successor first."""
    await used(room, made.key.id, 1, START_MS)
    with pytest.raises(rotation.StepRefused, match="rotate first"):
        await room.rotations.revoke(made.key.id, 1, author=OFFICER)
    await room.rotations.rotate(made.key.id, author=OFFICER)
    await room.rotations.revoke(made.key.id, 1, author=OFFICER)
    assert await states(room, made.key.id) == ["revoked", "active"]
    assert (await events(room))[-1]["action"] == "secret.revoked"


@pytest.mark.parametrize("way", ["key", "secret"])
async def test_revoking_it_whole_revokes_the_key(room: Room, made: CreatedKey, way: str) -> None:
    """By either door: every version, the key, one event; a right signature is told, and nothing rotates again."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    if way == "key":
        await room.custody.revoke_key(made.key.id, author=OFFICER)
    else:
        await room.rotations.revoke(made.key.id, author=OFFICER)
    assert await states(room, made.key.id) == ["revoked", "revoked"]
    found = await served(room, made.key.id)
    assert found.revoked
    assert [version for version, _ in found.verifiers] == [1, 2]
    event = (await events(room))[-1]
    assert (event["action"], event["details"]) == ("api_key.revoked", {"kind": "api-key", "versions": [1, 2]})
    with pytest.raises(rotation.StepRefused, match="revoked"):
        await room.rotations.rotate(made.key.id, author=OFFICER)
    with pytest.raises((rotation.StepRefused, api_keys.AlreadyRevoked)):
        await room.rotations.revoke(made.key.id, author=OFFICER)


async def test_a_revoked_key_keeps_what_served_and_not_what_waited(room: Room, made: CreatedKey) -> None:
    """A version that never served takes no place of one whose holder is to be told."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    await room.rotations.rotate(made.key.id, Wish(prepare=True), author=OFFICER)
    await room.custody.revoke_key(made.key.id, author=OFFICER)
    assert [version for version, _ in (await served(room, made.key.id)).verifiers] == [1, 2]


async def test_what_is_destroyed_has_no_material(room: Room, made: CreatedKey) -> None:
    """The ciphertext is gone, that it existed stays; nothing that may serve is destroyed."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    with pytest.raises(rotation.StepRefused):
        await room.rotations.destroy(made.key.id, 1, author=OFFICER)
    await room.rotations.retire(made.key.id, author=OFFICER)
    await room.rotations.destroy(made.key.id, 1, author=OFFICER)
    old, new = await rows(room, made.key.id)
    assert (old["state"], old["ciphertext"], old["data_key_id"]) == ("destroyed", None, None)
    assert new["ciphertext"] is not None
    assert (await events(room))[-1]["action"] == "secret.destroyed"
    assert [version for version, _ in (await served(room, made.key.id)).verifiers] == [2]


async def test_unknown_secrets_and_kinds_are_refused(room: Room, made: CreatedKey) -> None:
    """Each by its name, and nothing is written."""
    with pytest.raises(versions.UnknownSecret):
        await room.rotations.rotate("prk_nobody", author=OFFICER)
    bare = rotations.Rotations(room.engine, room.changes, room.clock, {}, Schedules())
    with pytest.raises(rotations.NotRotatedHere):
        await bare.rotate(made.key.id, author=OFFICER)


async def test_secrets_are_listed_by_what_they_are(room: Room) -> None:
    """Kind, environment and partner narrow the list; a ring stands in it beside the keys."""
    paper = (await room.create_key()).key.id
    live = (await room.create_key(environment="live")).key.id
    await room.ring().ensure(author=OFFICER)
    list_all = room.rotations.list_all
    assert [each.id for each in await list_all(kind="api-key")] == sorted([paper, live])
    assert [each.id for each in await list_all(environment="live")] == [live]
    assert {each.id for each in await list_all(partner="acme")} == {paper, live}
    assert {each.kind for each in await list_all()} == {"api-key", "ring"}
