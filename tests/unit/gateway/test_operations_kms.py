"""Four eyes over data keys: operations of many transactions, killed and resumed, on both databases."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations import EnvironmentForeign, PermissionMissing
from keys import data_key_rows, kms
from keys.approval_records import Wanted
from keys.approvals import (
    ApprovalClosed,
    ChangeAltered,
    DeciderStopped,
    RulesTightened,
    Spending,
    SubjectMoved,
    UnknownApproval,
)
from keys.break_glass import BreakGlassClosed
from keys.changes import Author
from keys.clearances import InSteps
from keys.register import Domain
from keys.resealing import GRACE_MS
from keys.wrappers import Wrappers
from policies import control
from storage import engine as sql
from tests.support.custody import FakeKms, Room, build_room
from tests.support.desk import POLICIES, Desk, build_desk, needed, person, showing, under_glass

ALICE, BOB = person("alice"), person("bob")
RULES = POLICIES + '[[approvals]]\naction = "kms.*"\nexpires = "4h"\n'
DOMAINS: tuple[Domain, ...] = ("paper", "live", "service")
SETUP = Author("setup")


class Failing(FakeKms):
    """Goes away after so many wrappings, as when the process is killed."""

    left: int | None = None

    async def wrap(self, *given: object) -> bytes:
        if self.left is not None:
            if not self.left:
                raise kms.KmsUnavailable("it ends here")
            self.left -= 1
        return await super().wrap(*given)  # type: ignore[arg-type]  # handed on


class Moving(msgspec.Struct, frozen=True):
    """A store whose data keys `old` wraps, and what moves them to `new`."""

    room: Room
    old: FakeKms
    new: Failing
    there: Desk

    def towards(self, target: FakeKms, *previous: FakeKms) -> Desk:
        return build_desk(self.room.engine, RULES, room=self.room, wrappers=Wrappers(target, None, previous))

    async def wrapped(self) -> list[list[str]]:
        async with sql.reading(self.room.engine) as conn:
            stored = await data_key_rows.list_all(conn)
        return [sorted(one.kms_key for one in each.wrappings) for each in stored]


@pytest.fixture
async def moving(engine: AsyncEngine) -> Moving:
    old, new = FakeKms("old"), Failing("new")
    room = build_room(engine, wrappers=Wrappers(old, None, (new,)))
    for domain in DOMAINS:
        await room.data_keys.get_current(domain)
    there = build_desk(engine, RULES, room=room, wrappers=Wrappers(new, None, (old,)))
    return Moving(room, old, new, there)


@pytest.fixture
async def ruled(engine: AsyncEngine) -> Desk:
    """With a data key of two epochs, and secrets under the first."""
    desk = build_desk(engine, RULES)
    await desk.room.custody.create_partner("acme", "acme", "standard", author=SETUP)
    for _ in range(3):
        await desk.room.create_key()
    await desk.room.data_keys.rotate("paper", author=SETUP)
    return desk


async def test_a_rewrap_takes_two(moving: Moving) -> None:
    """Whoever approves sees which keys it leads to, which it leaves, and what wraps each data key now."""
    need = await needed(moving.there.ops.kms.rewrap(ALICE, remove_old=True, reason="moving"))
    assert (need.action, need.subject, need.environment) == ("kms.rewrap", "data-keys", None)
    assert (need.change["to"], need.change["removed"]) == (["fake key new"], ["fake key old"])
    assert list(need.change["wrapped_by"].values()) == [["fake key old"]] * 3
    assert await moving.wrapped() == [["old"]] * 3
    approved = await moving.there.approved(need, BOB)
    done = await moving.there.ops.kms.rewrap(showing(ALICE, approved), remove_old=True)
    assert (done.data_keys, done.added, done.removed) == (3, 3, 3)
    assert await moving.wrapped() == [["new"]] * 3
    told = [event for event in await moving.there.ledger() if event.action.startswith("data_key.")]
    assert {event.approval for event in told if event.action != "data_key.created"} == {need.id}
    used = [event for event in await moving.there.ledger() if event.action == "approval.used"]
    assert len(used) == 1


async def test_a_killed_rewrap_goes_on_under_the_same_approval(moving: Moving) -> None:
    """No second approval is needed, and what it led to before, it leads to still."""
    approved = await moving.there.approved(
        await needed(moving.there.ops.kms.rewrap(ALICE, remove_old=True)), BOB
    )
    moving.new.left = 2
    with pytest.raises(kms.KmsUnavailable):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved), remove_old=True)
    assert sorted(map(len, await moving.wrapped())) == [1, 2, 2]
    moving.new.left = None
    done = await moving.there.ops.kms.rewrap(showing(ALICE, approved), remove_old=True)
    assert (done.added, done.removed) == (1, 3)
    again = await moving.there.ops.kms.rewrap(showing(ALICE, approved), remove_old=True)
    assert (again.added, again.removed) == (0, 0)


async def test_a_killed_rewrap_lets_no_other_change_pass(moving: Moving) -> None:
    """Neither another key, nor the removal of the old one, nor somebody else, nor another act."""
    approved = await moving.there.approved(await needed(moving.there.ops.kms.rewrap(ALICE)), BOB)
    moving.new.left = 1
    with pytest.raises(kms.KmsUnavailable):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved))
    moving.new.left = None
    elsewhere = moving.towards(FakeKms("attacker"), moving.old)
    before = await moving.wrapped()
    with pytest.raises(ApprovalClosed):
        await elsewhere.ops.kms.rewrap(showing(ALICE, approved))
    with pytest.raises(ApprovalClosed):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved), remove_old=True)
    with pytest.raises(UnknownApproval):
        await moving.there.ops.kms.rewrap(showing(BOB, approved))
    with pytest.raises(ApprovalClosed):
        await moving.there.ops.kms.rotate(showing(ALICE, approved), "paper")
    assert await moving.wrapped() == before


async def test_an_approval_to_move_there_is_no_use_for_moving_elsewhere(moving: Moving) -> None:
    """Not even before its first use."""
    approved = await moving.there.approved(await needed(moving.there.ops.kms.rewrap(ALICE)), BOB)
    elsewhere = moving.towards(FakeKms("attacker"), moving.old)
    with pytest.raises(ChangeAltered):
        await elsewhere.ops.kms.rewrap(showing(ALICE, approved))
    with pytest.raises(ChangeAltered):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved), remove_old=True)
    assert await moving.wrapped() == [["old"]] * 3


async def test_a_used_approval_does_not_move_there_again(moving: Moving) -> None:
    """Somebody has moved back since: what was agreed on once is not agreed on twice."""
    approved = await moving.there.approved(await needed(moving.there.ops.kms.rewrap(ALICE)), BOB)
    await moving.there.ops.kms.rewrap(showing(ALICE, approved))
    back = build_desk(
        moving.room.engine, room=moving.room, wrappers=Wrappers(moving.old, None, (moving.new,))
    )
    await back.ops.kms.rewrap(BOB, remove_old=True)
    with pytest.raises(SubjectMoved):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved))
    assert await moving.wrapped() == [["old"]] * 3


async def test_what_was_moved_between_the_request_and_its_use_is_asked_for_again(moving: Moving) -> None:
    """It was agreed on as it stood, also when it only looks the same again."""
    approved = await moving.there.approved(await needed(moving.there.ops.kms.rewrap(ALICE)), BOB)
    free = build_desk(
        moving.room.engine, room=moving.room, wrappers=Wrappers(moving.new, None, (moving.old,))
    )
    await free.ops.kms.rewrap(BOB)
    back = build_desk(
        moving.room.engine, room=moving.room, wrappers=Wrappers(moving.old, None, (moving.new,))
    )
    await back.ops.kms.rewrap(BOB, remove_old=True)
    with pytest.raises(SubjectMoved):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved))
    assert await moving.wrapped() == [["old"]] * 3
    assert (await moving.there.ops.approvals.get(ALICE, approved)).state == "approved", "it was given back"


async def test_a_killed_rewrap_does_not_go_on_for_ever(moving: Moving) -> None:
    """What a rule says about its use, it says about going on."""
    approved = await moving.there.approved(await needed(moving.there.ops.kms.rewrap(ALICE)), BOB)
    moving.new.left = 1
    with pytest.raises(kms.KmsUnavailable):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved))
    moving.new.left = None
    moving.room.clock.now_ms += 4 * 3_600_000
    with pytest.raises(ApprovalClosed):
        await moving.there.ops.kms.rewrap(showing(ALICE, approved))


async def test_nobody_is_asked_about_what_changes_nothing(moving: Moving) -> None:
    """All data keys are where they are to be, and none is retiring."""
    here = moving.towards(moving.old)
    assert (await here.ops.kms.rewrap(ALICE, remove_old=True)).data_keys == 3
    assert (await here.ops.kms.reseal(ALICE)).secrets == 0
    assert (await here.ops.approvals.find_page(ALICE)).approvals == ()


async def test_a_reseal_takes_two_until_it_is_done(ruled: Desk) -> None:
    """One approval moves the secrets, in as many transactions as it takes, and later destroys the data key."""
    need = await needed(ruled.ops.kms.reseal(ALICE))
    by = showing(ALICE, await ruled.approved(need, BOB))
    done = await ruled.ops.kms.reseal(by)
    assert (done.secrets, len(done.waiting), done.broken) == (3, 1, ())
    ruled.room.clock.now_ms += GRACE_MS
    assert list((await ruled.ops.kms.reseal(by)).destroyed) == need.change["from"]
    told = [
        event for event in await ruled.ledger() if event.action in {"data_key.resealed", "data_key.destroyed"}
    ]
    assert len(told) == 4
    assert {event.approval for event in told} == {need.id}


async def test_a_reseal_is_into_the_data_key_that_was_seen(ruled: Desk) -> None:
    """Who begins another epoch asks again, before the first use and after it."""
    early, late = person("early"), person("late")
    first = await ruled.approved(await needed(ruled.ops.kms.reseal(early)), BOB)
    second = await ruled.approved(await needed(ruled.ops.kms.reseal(late)), BOB)
    await ruled.ops.kms.reseal(showing(early, first))
    await ruled.room.data_keys.rotate("paper", author=SETUP)
    for by in (showing(early, first), showing(late, second)):
        with pytest.raises((ApprovalClosed, ChangeAltered)):
            await ruled.ops.kms.reseal(by)
    assert [
        event.details["secrets"] for event in await ruled.ledger() if event.action == "data_key.resealed"
    ] == [
        1,
        1,
        1,
    ]


async def test_an_epoch_is_begun_after_the_one_that_was_seen(ruled: Desk) -> None:
    """Two approvals for one epoch do not make two."""
    first, second = person("first"), person("second")
    approved = [
        await ruled.approved(await needed(ruled.ops.kms.rotate(by, "paper")), BOB) for by in (first, second)
    ]
    assert (await ruled.ops.kms.rotate(showing(first, approved[0]), "paper")).epoch == 3
    with pytest.raises(ChangeAltered):
        await ruled.ops.kms.rotate(showing(second, approved[1]), "paper")


async def test_every_step_under_glass_needs_it_open(moving: Moving) -> None:
    """It closes in the middle: what is left is not done."""
    await moving.there.ops.break_glass.open(ALICE, 60_000, reason="nobody answers")
    alone = under_glass(ALICE)

    class Slow(Failing):
        async def wrap(self, *given: object) -> bytes:
            moving.room.clock.now_ms += 25_000
            return await super().wrap(*given)

    slowly = build_desk(
        moving.room.engine, RULES, room=moving.room, wrappers=Wrappers(Slow("slow"), None, (moving.old,))
    )
    with pytest.raises(BreakGlassClosed):
        await slowly.ops.kms.rewrap(alone, reason="nobody answers")
    assert sorted(map(len, await moving.wrapped())) == [1, 2, 2]


async def test_it_is_for_operators_of_the_gateway(ruled: Desk) -> None:
    """A partner's operator, one without the permission, and one of paper alone, move nothing."""
    for by, failure in (
        (person("p", partner="acme"), PermissionMissing),
        (person("p", without=(control.KMS_WRITE,)), PermissionMissing),
        (person("p", environments=frozenset({"paper"})), EnvironmentForeign),
    ):
        for operation in (
            ruled.ops.kms.rewrap(by),
            ruled.ops.kms.reseal(by),
            ruled.ops.kms.rotate(by, "live"),
        ):
            with pytest.raises(failure):
                await operation
    for by in (person("p", partner="acme"), person("p", without=(control.KMS_READ,))):
        with pytest.raises(PermissionMissing):
            await ruled.ops.kms.status(by)


async def test_a_used_approval_goes_on_with_its_own_act_alone(ruled: Desk) -> None:
    """Whatever an operation says that its goal is."""
    need = await needed(ruled.ops.kms.reseal(ALICE))
    await ruled.ops.kms.reseal(showing(ALICE, await ruled.approved(need, BOB)))
    for action, subject in (("kms.rewrap", need.subject), (need.action, "another")):
        wanted = Wanted(action=action, subject=subject)
        steps = InSteps(
            spending=Spending(approval=need.id, wanted=wanted), goal=frozenset(), moving=frozenset()
        )
        with pytest.raises(ApprovalClosed):
            await ruled.room.custody.create_partner(
                "new", "New", "standard", author=Author(ALICE.actor, clearance=steps)
            )


async def test_a_rewrap_is_agreed_to_by_whom_the_rules_ask_for_now(moving: Moving) -> None:
    """Bob's yes was enough when he gave it: once it takes risk, it begins nothing, and nothing goes on with it."""
    there = moving.there
    need = await needed(there.ops.kms.rewrap(ALICE))
    approved = showing(ALICE, await there.approved(need, BOB))
    tight = there.operations_under(
        RULES + 'approvers = ["risk"]\n', Wrappers(moving.new, None, (moving.old,))
    )
    with pytest.raises(RulesTightened):
        await tight.kms.rewrap(approved)
    assert await moving.wrapped() == [["old"]] * 3
    moving.new.left = 1
    with pytest.raises(kms.KmsUnavailable):
        await there.ops.kms.rewrap(approved)
    moving.new.left = None
    with pytest.raises(RulesTightened):
        await tight.kms.rewrap(approved)
    await there.ops.kms.rewrap(approved)


async def test_a_killed_rewrap_does_not_go_on_by_a_stopped_keys_yes(moving: Moving) -> None:
    """The approver's key had leaked: what it let pass ends where it is."""
    there = moving.there
    await there.room.custody.create_partner("acme", "acme", "standard", author=SETUP)
    key = (await there.room.create_key(environment="live", roles=("approver",))).key
    need = await needed(there.ops.kms.rewrap(ALICE))
    approved = showing(ALICE, await there.approved(need, person("", actor=f"key:{key.id}")))
    moving.new.left = 1
    with pytest.raises(kms.KmsUnavailable):
        await there.ops.kms.rewrap(approved)
    moving.new.left = None
    await there.room.custody.freeze_key(key.id, author=SETUP)
    with pytest.raises(DeciderStopped):
        await there.ops.kms.rewrap(approved)
    assert sorted(map(len, await moving.wrapped())) == [1, 1, 2]
