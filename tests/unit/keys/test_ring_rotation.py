import asyncio
import os
from typing import Any

import jwt
import pytest
import sqlalchemy as sa

from keys import kms, refusals, ring, rotation, sealed_material
from keys.changes import Author
from keys.ring_rotation import (
    AnnouncedTooLately,
    EmptyRing,
    NoPendingKey,
    RingRotation,
    RingTimes,
    StillUnderWay,
    UnknownRingKey,
)
from storage import engine, schema
from tests.support.custody import Room

OPERATOR = Author("operator", "a test")
TIMES = RingTimes(lifetime_ms=30_000, skew_ms=1_000, cache_ms=300_000, spread_ms=30_000)


def rotating(room: Room, opened: ring.Ring | None = None) -> RingRotation:
    return RingRotation(opened or room.ring(), room.changes, TIMES)


async def made(room: Room) -> tuple[ring.Ring, RingRotation]:
    opened = room.ring()
    await opened.ensure(author=OPERATOR)
    return opened, rotating(room, opened)


def kids(opened: ring.Ring) -> list[str]:
    return [jwk["kid"] for jwk in opened.jwks()]


async def states(rotated: RingRotation) -> list[str]:
    return [version.state for version in await rotated.list_versions()]


async def actions(room: Room) -> list[str]:
    async with engine.reading(room.engine) as conn:
        query = sa.select(schema.audit_events.c.action).order_by(schema.audit_events.c.seq)
        return [action for action in (await conn.execute(query)).scalars() if action.startswith("ring_key.")]


async def test_a_key_is_announced_before_it_signs_and_published_after(empty_room: Room) -> None:
    """The whole way of a key: in the key set, then signing, then in the key set until what it signed has expired."""
    opened, rotated = await made(empty_room)
    first = opened.get_signer().kid
    announced = await rotated.announce(author=OPERATOR)
    await opened.refresh()
    assert opened.get_signer().kid == first
    assert kids(opened) == [first, announced.public_id]
    empty_room.clock.now_ms += TIMES.lead_ms
    await rotated.activate(author=OPERATOR)
    await opened.refresh()
    assert opened.get_signer().kid == announced.public_id
    assert kids(opened) == [first, announced.public_id]
    empty_room.clock.now_ms += TIMES.overlap_ms
    assert kids(opened) == [announced.public_id]
    await rotated.retire(1, author=OPERATOR)
    await rotated.destroy(1, author=OPERATOR)
    assert await states(rotated) == ["destroyed", "active"]
    assert await actions(empty_room) == [
        f"ring_key.{what}" for what in ("created", "announced", "activated", "retired", "destroyed")
    ]


async def test_a_key_announced_too_lately_does_not_sign(empty_room: Room) -> None:
    """Somebody may hold a key set without it, for as long as key sets may be kept and nodes may be behind."""
    opened, rotated = await made(empty_room)
    await rotated.announce(author=OPERATOR)
    empty_room.clock.now_ms += TIMES.lead_ms - 1
    with pytest.raises(AnnouncedTooLately):
        await rotated.activate(author=OPERATOR)
    assert await states(rotated) == ["active", "pending"]
    early = await rotated.activate(author=OPERATOR, now=True)
    await opened.refresh()
    assert opened.get_signer().kid == early.public_id


async def test_a_key_is_not_taken_back_while_what_it_signed_is_under_way(empty_room: Room) -> None:
    """Retiring waits; revoking is for a leak and does not."""
    opened, rotated = await made(empty_room)
    first = opened.get_signer().kid
    await rotated.announce(author=OPERATOR)
    await rotated.activate(author=OPERATOR, now=True)
    empty_room.clock.now_ms += TIMES.overlap_ms - 1
    with pytest.raises(StillUnderWay):
        await rotated.retire(1, author=OPERATOR)
    await rotated.revoke(first, author=OPERATOR)
    await opened.refresh()
    assert first not in kids(opened)


async def test_an_emergency_revokes_and_signs_at_once(empty_room: Room) -> None:
    """Without an announced key a new one is made; the leaked one leaves the key set with the same change."""
    opened, rotated = await made(empty_room)
    leaked = opened.get_signer().kid
    after = await rotated.rotate(author=OPERATOR, now=True)
    await opened.refresh()
    assert opened.get_signer().kid == after.public_id
    assert kids(opened) == [after.public_id]
    assert leaked != after.public_id
    assert await states(rotated) == ["revoked", "active"]
    assert await actions(empty_room) == ["ring_key.created", "ring_key.revoked", "ring_key.activated"]


async def test_an_emergency_takes_the_announced_key(empty_room: Room) -> None:
    """Verifiers may know it already."""
    opened, rotated = await made(empty_room)
    announced = await rotated.announce(author=OPERATOR)
    await rotated.rotate_now(author=OPERATOR)
    await opened.refresh()
    assert opened.get_signer().kid == announced.public_id
    assert await states(rotated) == ["revoked", "active"]


async def test_the_next_step_is_found(empty_room: Room) -> None:
    """To rotate is to announce, and the next time to activate."""
    _, rotated = await made(empty_room)
    assert (await rotated.rotate(author=OPERATOR)).state == "pending"
    with pytest.raises(AnnouncedTooLately):
        await rotated.rotate(author=OPERATOR)
    empty_room.clock.now_ms += TIMES.lead_ms
    assert (await rotated.rotate(author=OPERATOR)).state == "active"


async def test_what_the_state_does_not_allow_is_refused(empty_room: Room) -> None:
    """Each by its name, and nothing is changed."""
    opened, rotated = await made(empty_room)
    with pytest.raises(NoPendingKey):
        await rotated.activate(author=OPERATOR)
    with pytest.raises(UnknownRingKey):
        await rotated.revoke("nobody's", author=OPERATOR)
    with pytest.raises(rotation.StepRefused, match="rotate now"):
        await rotated.revoke(opened.get_signer().kid, author=OPERATOR)
    with pytest.raises(rotation.StepRefused):
        await rotated.retire(1, author=OPERATOR)
    with pytest.raises(rotation.StepRefused):
        await rotated.destroy(1, author=OPERATOR)
    await rotated.announce(author=OPERATOR)
    with pytest.raises(rotation.StepRefused):
        await rotated.announce(author=OPERATOR)
    assert await states(rotated) == ["active", "pending"]


async def test_a_ring_that_was_never_made_is_not_rotated(empty_room: Room) -> None:
    """Its first key is made by `init`, never by the way."""
    with pytest.raises(EmptyRing):
        await rotating(empty_room).rotate(author=OPERATOR, now=True)


async def test_of_two_who_rotate_at_once_one_is_refused(empty_room: Room) -> None:
    """There is one pending key, whoever announces it."""
    _, first = await made(empty_room)
    second = rotating(empty_room.another_node())
    outcomes = await asyncio.gather(
        *(each.announce(author=OPERATOR) for each in (first, second)), return_exceptions=True
    )
    assert sorted(isinstance(outcome, refusals.Conflict) for outcome in outcomes) == [False, True]
    assert await states(first) == ["active", "pending"]


async def test_rings_do_not_touch_one_another(empty_room: Room) -> None:
    """Each has its own keys, steps and algorithm."""
    opened, _ = await made(empty_room)
    other = ring.Ring(
        empty_room.engine,
        empty_room.data_keys,
        empty_room.changes,
        empty_room.clock,
        os.urandom,
        name="access",
        algorithm="ES256",
    )
    await other.ensure(author=OPERATOR)
    before = opened.get_signer().kid
    await RingRotation(other, empty_room.changes, TIMES).rotate_now(author=OPERATOR)
    await asyncio.gather(opened.refresh(), other.refresh())
    assert opened.get_signer().kid == before
    signer = other.get_signer()
    signed = jwt.encode({"sub": "acme"}, signer.private_key, algorithm="ES256")
    assert jwt.decode(signed, jwt.PyJWK(other.jwks()[0]), algorithms=["ES256"]) == {"sub": "acme"}


async def test_a_planted_retired_key_is_not_published(empty_room: Room) -> None:
    """What is published of a retiring key, too, comes from its sealed half."""
    opened, rotated = await made(empty_room)
    await rotated.announce(author=OPERATOR)
    await rotated.activate(author=OPERATOR, now=True)
    await opened.refresh()
    before = opened.jwks()
    async with engine.transaction(empty_room.engine) as conn:
        await conn.execute(
            sa.update(schema.secret_versions)
            .where(schema.secret_versions.c.state == "retiring")
            .values(public_key=b"p" * 32, ciphertext=None, data_key_id=None)
        )
    with pytest.raises(ring.RingUnusable):
        await opened.refresh()
    assert opened.jwks() == before


async def test_a_leaked_key_goes_while_the_kms_is_away(empty_room: Room) -> None:
    """What signs next may have to wait until it is opened; what must not be relied on waits for nobody."""
    _, rotated = await made(empty_room)
    elsewhere = empty_room.another_node()
    node = elsewhere.ring()
    await node.refresh()
    leaked = node.get_signer().kid
    await empty_room.data_keys.rotate("service", author=OPERATOR)
    await rotated.rotate_now(author=OPERATOR)
    elsewhere.kms.down = True
    with pytest.raises(kms.KmsUnavailable):
        await node.refresh()
    await node.withdrawals.refresh()
    assert leaked not in kids(node)
    with pytest.raises(ring.RingUnusable):
        node.get_signer()
    elsewhere.kms.down = False
    await node.refresh()
    assert kids(node) == [node.get_signer().kid] != [leaked]


async def test_a_key_that_went_does_not_come_back_with_an_older_look(
    empty_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring that was read before the key was revoked, and opened after, is read once more."""
    opened, rotated = await made(empty_room)
    leaked, node = opened.get_signer().kid, empty_room.another_node().ring()
    await node.refresh()
    unhurried, looks = sealed_material.read, 0

    async def overtaken(*asked: Any) -> Any:  # noqa: ANN401  passed on
        nonlocal looks
        found = await unhurried(*asked)
        looks += 1
        if looks == 1:
            await rotated.rotate_now(author=OPERATOR)
            await node.withdrawals.refresh()
        return found

    monkeypatch.setattr(sealed_material, "read", overtaken)
    await node.refresh()
    assert leaked not in kids(node)
    assert node.get_signer().kid in kids(node)
