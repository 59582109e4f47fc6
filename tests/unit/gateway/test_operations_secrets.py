"""What operators can do with secrets: whom they reach, what they may be shown, and who else has to agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations import EnvironmentForeign, Operator, PermissionMissing
from gateway.operations.secret_operations import EVERYTHING, RotatedElsewhere
from keys import evidence, partners, rotation, rotations
from keys.approvals import SubjectMoved
from keys.changes import Author
from keys.due import Action
from keys.held import HeldSecret
from keys.records import KeyChange
from keys.rotations import Wish
from keys.secret_pages import Wanted
from keys.versions import UnknownSecret
from policies import control
from tests.support.custody import START_MS
from tests.support.desk import POLICIES, Desk, build_desk, live_trader, needed, person, showing
from tests.support.rotated import used

ALICE, BOB = person("alice"), person("bob")
ACME, ZEPHYR = person("ada", partner="acme"), person("zoe", partner="zephyr")
RULES = "".join(
    f'\n[[approvals]]\naction = "{action}"\n'
    for action in ("secret.rotate", "secret.retire", "secret.destroy")
)
Step = Callable[[Desk, Operator, str], Awaitable[object]]
STEPS: dict[str, Step] = {
    "rotate": lambda desk, by, secret_id: desk.ops.secrets.rotate(by, secret_id),
    "activate": lambda desk, by, secret_id: desk.ops.secrets.activate(by, secret_id),
    "retire": lambda desk, by, secret_id: desk.ops.secrets.retire(by, secret_id),
    "revoke": lambda desk, by, secret_id: desk.ops.secrets.revoke(by, secret_id, 1),
    "destroy": lambda desk, by, secret_id: desk.ops.secrets.destroy(by, secret_id, 1),
}


@pytest.fixture
async def strict_desk(engine: AsyncEngine) -> Desk:
    """Where whatever can have a rule has one."""
    built = build_desk(engine, POLICIES + RULES)
    await built.room.custody.create_partner("acme", "acme", "standard", author=Author("setup"))
    return built


async def make(desk: Desk, **asked: object) -> str:
    return (await desk.room.custody.create_key(live_trader(**asked), author=Author("setup"))).key.id


async def ring(desk: Desk) -> str:
    await desk.room.ring().ensure(author=Author("setup"))
    (secret,) = (await desk.ops.secrets.find_page(ALICE, Wanted(kind="ring"))).secrets
    return secret.id


def states(secret: HeldSecret) -> list[str]:
    return [version.state for version in secret.versions]


async def test_the_life_of_a_secret(desk: Desk) -> None:
    """Rotated, prepared, activated, retired, revoked and destroyed; the ledger names who, and why."""
    key_id = await make(desk)
    rotated = await desk.ops.secrets.rotate(ALICE, key_id, reason="yearly")
    assert rotated.shown is not None
    assert states(await desk.ops.secrets.retire(ALICE, key_id, 1)) == ["revoked", "active"]
    await desk.ops.secrets.rotate(ALICE, key_id, Wish(prepare=True))
    assert states(await desk.ops.secrets.activate(ALICE, key_id, 3)) == ["revoked", "retiring", "active"]
    assert states(await desk.ops.secrets.revoke(ALICE, key_id, 2)) == ["revoked", "revoked", "active"]
    assert states(await desk.ops.secrets.destroy(ALICE, key_id, 1)) == ["destroyed", "revoked", "active"]
    assert states(await desk.ops.secrets.revoke(ALICE, key_id)) == ["destroyed", "revoked", "revoked"]
    told = [event for event in await desk.ledger() if event.subject == key_id][1:]
    assert {event.actor for event in told} == {"cli:alice"}
    assert (told[0].action, told[0].reason) == ("secret.rotated", "yearly")
    assert told[-1].action == "api_key.revoked"


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_what_is_out_of_reach_is_unknown(desk: Desk, step: Step) -> None:
    """Another partner's secrets, and what belongs to nobody, by whatever step; it is the answer to any wrong name."""
    key_id, ours = await make(desk), await ring(desk)
    for secret_id in (key_id, ours, "prk_nobody"):
        with pytest.raises(UnknownSecret, match=secret_id):
            await step(desk, ZEPHYR, secret_id)
        with pytest.raises(UnknownSecret, match=secret_id):
            await desk.ops.secrets.get(ZEPHYR, secret_id)
        with pytest.raises(UnknownSecret):
            await desk.ops.secrets.find_page(ZEPHYR, after=secret_id)
        with pytest.raises(UnknownSecret):
            await desk.ops.secrets.plan_page(ZEPHYR, START_MS, after=secret_id)
    assert states(await desk.ops.secrets.get(ACME, key_id)) == ["active"]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_a_step_takes_its_permission_and_its_environment(desk: Desk, step: Step) -> None:
    """Reading takes another, and no environment."""
    key_id = await make(desk)
    reader = person("ray", without=(control.SECRETS_ROTATE,))
    with pytest.raises(PermissionMissing, match="secrets-rotate"):
        await step(desk, reader, key_id)
    paper = person("pia", environments=frozenset({"paper"}))
    with pytest.raises(EnvironmentForeign):
        await step(desk, paper, key_id)
    assert (await desk.ops.secrets.get(paper, key_id)).id == key_id
    blind = person("bea", without=(control.SECRETS_READ,))
    for look in (desk.ops.secrets.get(blind, key_id), desk.ops.secrets.find_page(blind),
                 desk.ops.secrets.plan_page(blind, START_MS)):  # fmt: skip
        with pytest.raises(PermissionMissing, match="secrets-read"):
            await look


async def test_lists_and_plans_show_what_is_reached(desk: Desk) -> None:
    """A partner's operator sees its own; another partner's name is unknown; who is nobody's sees nothing."""
    own, theirs, ours = await make(desk), await make(desk, partner="zephyr"), await ring(desk)
    for key_id in (own, theirs):
        await desk.ops.secrets.rotate(ALICE, key_id)
    until_ms = START_MS + 30 * 86_400_000

    async def listed(by: Operator) -> set[str]:
        return {secret.id for secret in (await desk.ops.secrets.find_page(by)).secrets}

    async def planned(by: Operator) -> set[str]:
        return {action.secret_id for action in (await desk.ops.secrets.plan_page(by, until_ms)).actions}

    assert (await listed(ALICE), await planned(ALICE)) == ({own, theirs, ours}, {own, theirs})
    assert (await listed(ACME), await planned(ACME)) == ({own}, {own})
    nobody = person("nemo", without=(control.ALL_PARTNERS,))
    assert (await listed(nobody), await planned(nobody)) == (set(), set())
    for look in (
        desk.ops.secrets.find_page(ACME, Wanted(partner="zephyr")),
        desk.ops.secrets.plan_page(ACME, until_ms, Wanted(partner="zephyr")),
    ):
        with pytest.raises(partners.UnknownPartner):
            await look


class Elsewhere:
    """Things to be done that are not in the register: of acme, and of nobody."""

    async def due(self) -> tuple[Action, ...]:
        return ()

    async def plan(self, until_ms: int) -> tuple[Action, ...]:
        return tuple(
            Action(
                at=until_ms,
                step="rotate",
                secret_id=f"other-{partner}",
                kind="data-key",
                environment="paper",
                partner=partner,
                label="",
                version=2,
            )
            for partner in ("acme", None)
        )

    async def apply(self, action: Action, *, author: Author) -> bool:
        raise NotImplementedError


async def test_what_is_planned_elsewhere_comes_last_and_to_whom_it_concerns(engine: AsyncEngine) -> None:
    """With the last page, once, narrowed as the rest is."""
    desk = build_desk(engine, upkeep=(Elsewhere(),))
    for partner in ("acme", "zephyr"):
        await desk.room.custody.create_partner(partner, partner, "standard", author=Author("setup"))
        await desk.room.rotations.rotate(await make(desk, partner=partner), author=Author("setup"))
    until_ms = START_MS + 10 * 86_400_000

    async def planned(by: Operator, wanted: Wanted = EVERYTHING) -> list[str]:
        page = await desk.ops.secrets.plan_page(by, until_ms, wanted, limit=1)
        pages = [page.actions]
        while page.after is not None:
            page = await desk.ops.secrets.plan_page(by, until_ms, wanted, after=page.after, limit=1)
            pages.append(page.actions)
        return [action.secret_id.partition("_")[0] for one in pages for action in one]

    assert await planned(ALICE) == ["prk", "prk", "other-acme", "other-None"]
    assert await planned(ACME) == ["prk", "other-acme"]
    assert await planned(ZEPHYR) == ["prk"]
    assert await planned(ALICE, Wanted(environment="live")) == ["prk", "prk"]
    assert await planned(ALICE, Wanted(kind="api-key")) == ["prk", "prk"]


async def test_nobody_takes_over_a_key_that_can_more_than_they(desk: Desk) -> None:
    """To be shown its new secret, or let one serve that was shown before, is to hold its control permissions."""
    officer = await make(desk, roles=("approver",))
    with pytest.raises(PermissionMissing, match="control:all-partners"):
        await desk.ops.secrets.rotate(ACME, officer)
    room = desk.room
    await room.rotations.rotate(officer, Wish(prepare=True), author=Author("setup"))
    with pytest.raises(PermissionMissing, match="control:all-partners"):
        await desk.ops.secrets.activate(ACME, officer)
    # Ending one of its versions gives nothing.
    assert states(await desk.ops.secrets.revoke(ACME, officer, 2)) == ["active", "revoked"]
    trader = await make(desk)
    assert (await desk.ops.secrets.rotate(ACME, trader)).shown is not None


@pytest.mark.parametrize("step", ["rotate", "activate"])
async def test_a_key_that_is_given_more_meanwhile_is_not_taken_over(
    desk: Desk, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what it may do and the change: the change looks again."""
    key_id = await make(desk, roles=("viewer",))
    if step == "activate":
        await desk.room.rotations.rotate(key_id, Wish(prepare=True), author=Author("setup"))
    custody, real = desk.room.custody, desk.room.custody.get_key

    async def get_and_widen(wanted: str) -> object:
        seen = await real(wanted)
        await custody.change_key(seen, KeyChange(roles=("approver",)), author=Author("colleague"))
        return seen

    monkeypatch.setattr(custody, "get_key", get_and_widen)
    with pytest.raises(rotations.ChangedMeanwhile):
        await STEPS[step](desk, ACME, key_id)


async def test_a_step_on_a_version_is_on_that_version(desk: Desk) -> None:
    """Only the pending one is activated, whichever number is given."""
    key_id = await make(desk)
    await desk.ops.secrets.rotate(ALICE, key_id, Wish(prepare=True))
    with pytest.raises(rotation.StepRefused, match="1 is not pending"):
        await desk.ops.secrets.activate(ALICE, key_id, 1)
    with pytest.raises(rotation.UnknownVersion):
        await desk.ops.secrets.activate(ALICE, key_id, 7)
    assert states(await desk.ops.secrets.get(ALICE, key_id)) == ["active", "pending"]


async def test_who_would_break_is_told(desk: Desk) -> None:
    """And nothing is ended, until that is said."""
    key_id = await make(desk)
    await desk.ops.secrets.rotate(ALICE, key_id)
    await used(desk.room, key_id, 1, START_MS, "203.0.113.9")
    with pytest.raises(evidence.StillUsed, match=r"partner acme .* 203\.0\.113\.9"):
        await desk.ops.secrets.retire(ALICE, key_id)
    assert states(await desk.ops.secrets.retire(ALICE, key_id, even_if_used=True)) == ["revoked", "active"]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_what_has_steps_of_its_own_is_refused_by_name(desk: Desk, step: Step) -> None:
    """A ring's keys would be taken out of the key set too early; the refusal says which command is right."""
    secret_id = await ring(desk)
    with pytest.raises(RotatedElsewhere, match="`portreeve rings`"):
        await step(desk, ALICE, secret_id)


async def test_steps_with_a_rule_take_two(strict_desk: Desk) -> None:
    """Each is asked for first, and nothing has changed by that; revoking never is."""
    desk, rotate = strict_desk, strict_desk.ops.secrets
    key_id = await make(desk)
    need = await needed(rotate.rotate(ALICE, key_id, Wish(overlap_ms=5_000)))
    assert (need.action, need.subject, need.partner, need.environment) == (
        "secret.rotate",
        key_id,
        "acme",
        "live",
    )
    assert states(await rotate.get(ALICE, key_id)) == ["active"]
    agreed = await desk.approved(need, BOB)
    assert (await rotate.rotate(showing(ALICE, agreed), key_id, Wish(overlap_ms=5_000))).version == 2
    retire = await desk.approved(await needed(rotate.retire(ALICE, key_id)), BOB)
    await rotate.retire(showing(ALICE, retire), key_id)
    destroy = await desk.approved(await needed(rotate.destroy(ALICE, key_id, 1)), BOB)
    assert states(await rotate.destroy(showing(ALICE, destroy), key_id, 1)) == ["destroyed", "active"]
    assert states(await rotate.revoke(ALICE, key_id)) == ["destroyed", "revoked"]


async def test_an_approval_is_for_the_versions_that_were_seen(strict_desk: Desk) -> None:
    """Whatever has been done to the secret since is not what somebody agreed to."""
    desk = strict_desk
    key_id = await make(desk)
    agreed = await desk.approved(await needed(desk.ops.secrets.rotate(ALICE, key_id)), BOB)
    await desk.room.rotations.rotate(key_id, author=Author("colleague"))
    with pytest.raises(SubjectMoved):
        await desk.ops.secrets.rotate(showing(ALICE, agreed), key_id)


async def test_revoking_a_key_whole_is_revoking_a_key(desk: Desk) -> None:
    """It takes the permission for that; a version alone does not."""
    key_id = await make(desk)
    await desk.ops.secrets.rotate(ALICE, key_id)
    rotator = person("rob", without=(control.KEYS_REVOKE,))
    with pytest.raises(PermissionMissing, match="keys-revoke"):
        await desk.ops.secrets.revoke(rotator, key_id)
    assert states(await desk.ops.secrets.revoke(rotator, key_id, 1)) == ["revoked", "active"]


async def test_what_is_due_is_run_by_who_reaches_all(desk: Desk) -> None:
    """It may be about anybody's secrets."""
    key_id = await make(desk)
    await desk.ops.secrets.rotate(ALICE, key_id, Wish(overlap_ms=1_000))
    desk.room.clock.now_ms += 2_000
    for by in (ACME, person("rob", without=(control.SECRETS_ROTATE,))):
        with pytest.raises(PermissionMissing):
            await desk.ops.secrets.run_due(by)
    with pytest.raises(EnvironmentForeign):
        await desk.ops.secrets.run_due(msgspec.structs.replace(ALICE, environments=frozenset({"live"})))
    (outcome,) = await desk.ops.secrets.run_due(ALICE)
    assert (outcome.action.step, outcome.failure) == ("retire", None)
