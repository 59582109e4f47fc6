"""Four eyes, asked for and got round: two operators at one store, on both databases."""

import asyncio
from collections import Counter

import pytest

from gateway.operations import ApprovalNeeded, PermissionMissing
from gateway.operations.gate import Standing
from keys import changes, partners, refusals
from keys.approval_records import Wanted
from keys.approvals import (
    ApprovalClosed,
    ChangeAltered,
    SelfApproval,
    Spending,
    SubjectMoved,
    UnknownApproval,
)
from keys.changes import Author
from keys.records import KeyChange, PartnerChange
from policies import document
from tests.support.desk import Desk, live_trader, needed, person, showing

ALICE, BOB, CAROL = person("alice"), person("bob"), person("carol")


async def make_live(desk: Desk, **asked: object) -> str:
    """A live key that trades, made below the operations."""
    made = await desk.room.custody.create_key(live_trader(**asked), author=Author("setup"))
    return made.key.id


async def test_a_live_trading_key_takes_two(desk: Desk) -> None:
    """Asked for, approved by another, made by the first; each step is told, and the change names the approval."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader(), reason="desk 4"))
    assert (need.action, need.subject, need.partner, need.state) == (
        "key.create",
        "acme",
        "acme",
        "pending",
    )
    assert (await desk.ops.keys.find_page(ALICE)).keys == ()
    approved = await desk.ops.approvals.approve(BOB, need.id, reason="seen the contract")
    assert (approved.state, approved.decided_by) == ("approved", "cli:bob")
    made = await desk.ops.keys.create(showing(ALICE, need.id), live_trader())
    told = (await desk.ledger())[-4:]
    assert [(event.action, event.actor) for event in told] == [
        ("approval.requested", "cli:alice"),
        ("approval.approved", "cli:bob"),
        ("approval.used", "cli:alice"),
        ("api_key.created", "cli:alice"),
    ]
    assert (told[-1].approval, told[-1].subject, told[-1].reason) == (need.id, made.key.id, "desk 4")
    assert told[-1].revision == told[-2].revision, "used and made in one transaction"
    assert told[0].details["digest"] == told[2].details["digest"] == need.digest
    assert (await desk.ops.approvals.get(ALICE, need.id)).state == "used"


async def test_what_no_rule_names_is_done_at_once(desk: Desk) -> None:
    """Paper, viewers, narrowing, and every emergency act."""
    await desk.ops.keys.create(ALICE, live_trader(environment="paper"))
    await desk.ops.keys.create(ALICE, live_trader(roles=("viewer",)))
    key_id = await make_live(desk, cidrs=("10.0.0.0/8",))
    narrowed = await desk.ops.keys.change(ALICE, key_id, KeyChange(cidrs=("10.1.0.0/16",)))
    assert narrowed.cidrs == ("10.1.0.0/16",)
    await desk.ops.keys.freeze(ALICE, key_id)
    await desk.ops.keys.revoke(ALICE, key_id)
    await desk.ops.partners.freeze(ALICE, "acme")


async def test_taking_an_emergency_back_takes_two(desk: Desk) -> None:
    """Freezing took one, whoever they are; thawing takes two, of a partner as of a key."""
    key_id = await make_live(desk)
    await desk.ops.keys.freeze(ALICE, key_id)
    await desk.ops.partners.freeze(ALICE, "acme")
    thaw_key = await needed(desk.ops.keys.unfreeze(ALICE, key_id))
    thaw_partner = await needed(desk.ops.partners.unfreeze(ALICE, "acme"))
    await desk.ops.keys.unfreeze(showing(ALICE, await desk.approved(thaw_key, BOB)), key_id)
    await desk.ops.partners.unfreeze(showing(ALICE, await desk.approved(thaw_partner, BOB)), "acme")
    assert (await desk.ops.keys.get(ALICE, key_id)).frozen_at is None
    assert (await desk.ops.partners.get(ALICE, "acme")).frozen_at is None


async def test_nobody_is_asked_about_what_can_not_be_done(desk: Desk) -> None:
    """What is not frozen needs no second person to be told so."""
    with pytest.raises(partners.PartnerNotFrozen):
        await desk.ops.partners.unfreeze(ALICE, "acme")
    with pytest.raises(refusals.Conflict):
        await desk.ops.keys.unfreeze(ALICE, await make_live(desk))
    with pytest.raises(partners.UnknownPartner):
        await desk.ops.keys.create(ALICE, live_trader(partner="nobody"))
    assert (await desk.ops.approvals.find_page(ALICE)).approvals == ()


async def test_a_widened_key_tells_before_and_after(desk: Desk) -> None:
    """Whoever approves sees both, and so does the ledger; the digest binds both."""
    key_id = await make_live(desk, cidrs=("10.0.0.0/16",))
    wider = KeyChange(cidrs=("10.0.0.0/8",), label="all of it")
    need = await needed(desk.ops.keys.change(ALICE, key_id, wider))
    assert need.change == {
        "before": {"cidrs": ["10.0.0.0/16"], "label": ""},
        "after": {"cidrs": ["10.0.0.0/8"], "label": "all of it"},
        "widened": ["cidrs"],
        "grants": ["orders:read", "orders:write"],
    }
    changed = await desk.ops.keys.change(showing(ALICE, await desk.approved(need, BOB)), key_id, wider)
    assert (changed.cidrs, changed.label) == (("10.0.0.0/8",), "all of it")
    last = (await desk.ledger())[-1]
    assert (last.action, last.approval) == ("api_key.changed", need.id)
    assert last.details == {name: need.change[name] for name in ("before", "after")}


@pytest.mark.parametrize(
    "other",
    [
        {"roles": ("trader", "viewer")},
        {"cidrs": ("10.0.0.0/8",)},
        {"cidrs": ("192.0.2.0/24", "192.0.3.0/24")},
        {"permissions": ("orders:write",)},
        {"label": "another"},
        {"expires_at": 4_000_000_000_000},
        {"partner": "zephyr"},
        {
            "algorithm": "ed25519",
            "public_key": bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        },
    ],
)
async def test_an_altered_change_is_refused(desk: Desk, other: dict[str, object]) -> None:
    """One more role, another network, another partner: what was approved is what was shown, and nothing else."""
    asked = live_trader(cidrs=("192.0.2.0/24",))
    approved = await desk.approved(await needed(desk.ops.keys.create(ALICE, asked)), BOB)
    before = len(await desk.ledger())
    with pytest.raises(ChangeAltered):
        await desk.ops.keys.create(
            showing(ALICE, approved), live_trader(**{"cidrs": ("192.0.2.0/24",)} | other)
        )
    assert (await desk.ops.keys.find_page(ALICE)).keys == ()
    assert len(await desk.ledger()) == before
    await desk.ops.keys.create(showing(ALICE, approved), asked)


async def test_an_approval_for_one_key_is_no_use_on_another(desk: Desk) -> None:
    """Nor for another act on the same one."""
    first, second = await make_live(desk), await make_live(desk)
    for key_id in (first, second):
        await desk.ops.keys.freeze(ALICE, key_id)
    approved = await desk.approved(await needed(desk.ops.keys.unfreeze(ALICE, first)), BOB)
    with pytest.raises(ChangeAltered):
        await desk.ops.keys.unfreeze(showing(ALICE, approved), second)
    with pytest.raises(ChangeAltered):
        await desk.ops.keys.change(showing(ALICE, approved), first, KeyChange(label="thawed"))
    with pytest.raises(ChangeAltered):
        await desk.ops.partners.create(showing(ALICE, approved), "new", "New", "standard")
    assert (await desk.ops.keys.get(ALICE, second)).frozen_at is not None


async def test_an_approval_is_good_for_once(desk: Desk) -> None:
    """Replayed, it is used, and says so."""
    approved = await desk.approved(await needed(desk.ops.keys.create(ALICE, live_trader())), BOB)
    await desk.ops.keys.create(showing(ALICE, approved), live_trader())
    with pytest.raises(ApprovalClosed, match="is used"):
        await desk.ops.keys.create(showing(ALICE, approved), live_trader())
    assert len((await desk.ops.keys.find_page(ALICE)).keys) == 1


async def test_of_fifty_uses_at_once_one_is_good(desk: Desk) -> None:
    """Whatever the database, the rest are told that it is used."""
    approved = await desk.approved(await needed(desk.ops.keys.create(ALICE, live_trader())), BOB)

    async def use() -> str:
        try:
            await desk.ops.keys.create(showing(ALICE, approved), live_trader())
        except ApprovalClosed as error:
            return error.state
        return "made"

    outcomes = Counter(await asyncio.gather(*(use() for _ in range(50))))
    assert outcomes == {"made": 1, "used": 49}
    assert len((await desk.ops.keys.find_page(ALICE)).keys) == 1
    assert Counter(event.action for event in await desk.ledger())["approval.used"] == 1


async def test_a_change_that_fails_gives_the_approval_back(desk: Desk) -> None:
    """It is spent in the transaction of the change: what is rolled back was not spent."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    author_by = showing(ALICE, await desk.approved(need, BOB))
    author = await desk.ops.gate.pass_(
        author_by,
        action=need.action,
        subject=need.subject,
        environment=need.environment,
        partner=need.partner,
        change=need.change,
    )

    async def fail() -> None:
        async with desk.room.changes.begin(author) as change:
            await change.record("something.done", "acme")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await fail()
    assert (await desk.approvals.get(need.id)).state == "approved"
    await desk.ops.keys.create(author_by, live_trader())


async def test_an_expired_approval_is_good_for_nothing(desk: Desk) -> None:
    """Neither to be used nor to be decided; it reads as expired, and asking again makes another."""
    early = await needed(desk.ops.keys.create(ALICE, live_trader()))
    late = await needed(desk.ops.keys.create(ALICE, live_trader(label="second")))
    await desk.approved(early, BOB)
    desk.room.clock.now_ms = early.expires_at
    with pytest.raises(ApprovalClosed, match="is expired"):
        await desk.ops.keys.create(showing(ALICE, early.id), live_trader())
    with pytest.raises(ApprovalClosed, match="is expired"):
        await desk.ops.approvals.approve(BOB, late.id)
    assert (await desk.ops.approvals.get(BOB, early.id)).state == "expired"
    assert (await desk.ops.approvals.find_page(BOB, state="open")).approvals == ()
    assert (await needed(desk.ops.keys.create(ALICE, live_trader()))).id != early.id


async def test_what_was_not_approved_is_no_use(desk: Desk) -> None:
    """While it waits, once it was refused, once it was withdrawn."""
    waiting = await needed(desk.ops.keys.create(ALICE, live_trader()))
    with pytest.raises(ApprovalClosed, match="is pending"):
        await desk.ops.keys.create(showing(ALICE, waiting.id), live_trader())
    await desk.ops.approvals.refuse(BOB, waiting.id, reason="no contract")
    with pytest.raises(ApprovalClosed, match="is refused"):
        await desk.ops.keys.create(showing(ALICE, waiting.id), live_trader())
    with pytest.raises(ApprovalClosed, match="is refused"):
        await desk.ops.approvals.approve(BOB, waiting.id)
    again = await needed(desk.ops.keys.create(ALICE, live_trader()))
    await desk.approved(again, BOB)
    with pytest.raises(UnknownApproval):
        await desk.ops.approvals.withdraw(CAROL, again.id)
    await desk.ops.approvals.withdraw(ALICE, again.id)
    with pytest.raises(ApprovalClosed, match="is withdrawn"):
        await desk.ops.keys.create(showing(ALICE, again.id), live_trader())
    told = [event.action for event in await desk.ledger()]
    assert told[-4:] == [
        "approval.refused",
        "approval.requested",
        "approval.approved",
        "approval.withdrawn",
    ]


async def test_an_approval_is_of_no_use_to_anybody_else(desk: Desk) -> None:
    """Not even to whoever gave it; and one that nobody gave is unknown in the same words."""
    approved = await desk.approved(await needed(desk.ops.keys.create(ALICE, live_trader())), BOB)
    for thief in (BOB, CAROL, person("ALICE")):
        with pytest.raises(UnknownApproval) as stolen:
            await desk.ops.keys.create(showing(thief, approved), live_trader())
        with pytest.raises(UnknownApproval) as invented:
            await desk.ops.keys.create(showing(thief, "apr_nothing"), live_trader())
        assert str(stolen.value).replace(approved, "") == str(invented.value).replace("apr_nothing", "")


@pytest.mark.parametrize("name", ["alice", "Alice", "ALICE"])
async def test_nobody_approves_their_own(desk: Desk, name: str) -> None:
    """However the account is spelled."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    with pytest.raises(SelfApproval):
        await desk.ops.approvals.approve(person(name), need.id)
    with pytest.raises(SelfApproval):
        await desk.ops.approvals.refuse(person(name), need.id)


async def test_an_approval_ends_when_its_subject_is_changed(desk: Desk) -> None:
    """What was true when it was approved has to be true when it is used: here, for which freeze it was given."""
    key_id = await make_live(desk)
    await desk.ops.keys.freeze(ALICE, key_id, reason="a false alarm")
    early = await desk.approved(await needed(desk.ops.keys.unfreeze(ALICE, key_id)), BOB)
    other = await desk.approved(await needed(desk.ops.keys.unfreeze(CAROL, key_id)), BOB)
    await desk.ops.keys.unfreeze(showing(CAROL, other), key_id)
    await desk.ops.keys.freeze(BOB, key_id, reason="the secret is out")
    with pytest.raises(SubjectMoved):
        await desk.ops.keys.unfreeze(showing(ALICE, early), key_id)
    assert (await desk.ops.keys.get(ALICE, key_id)).frozen_reason == "the secret is out"


async def test_a_subject_that_moves_under_the_change_stops_it(desk: Desk) -> None:
    """Between reading and the transaction there is room for somebody else; the transaction looks again."""
    key_id = await make_live(desk)
    seen = await desk.ops.keys.get(ALICE, key_id)
    wider = KeyChange(roles=("trader", "viewer"))
    approved = await desk.approved(await needed(desk.ops.keys.change(ALICE, key_id, wider)), BOB)
    await desk.ops.keys.freeze(CAROL, key_id)
    with pytest.raises(refusals.Conflict):
        await desk.room.custody.change_key(seen, wider, author=Author("cli:alice"))
    with pytest.raises(SubjectMoved):
        await desk.ops.keys.change(showing(ALICE, approved), key_id, wider)


async def test_an_approval_stands_in_the_ledger_only_where_it_was_spent(desk: Desk) -> None:
    """Who shows one that is not needed has it checked all the same: nobody writes what they like into the ledger."""
    key_id = await make_live(desk)
    with pytest.raises(UnknownApproval):
        await desk.ops.keys.freeze(showing(ALICE, "apr_invented"), key_id)
    assert all(event.approval is None for event in await desk.ledger())


async def test_a_partner_is_renamed_and_moved(desk: Desk) -> None:
    """With before and after, and not without the permission or to a tier that is not there."""
    changed = await desk.ops.partners.change(ALICE, "acme", PartnerChange(name="Acme Ltd", tier="gold"))
    assert (changed.name, changed.tier) == ("Acme Ltd", "gold")
    last = (await desk.ledger())[-1]
    assert last.details == {
        "before": {"name": "acme", "tier": "standard"},
        "after": {"name": "Acme Ltd", "tier": "gold"},
    }
    with pytest.raises(PermissionMissing):
        await desk.ops.partners.change(person("chief", partner="acme"), "acme", PartnerChange(tier="gold"))
    with pytest.raises(document.UnknownName, match="unknown tier"):
        await desk.ops.partners.change(ALICE, "acme", PartnerChange(tier="platinum"))


async def test_nothing_is_done_while_it_waits(desk: Desk) -> None:
    """The refusal carries the request, by name."""
    key_id = await make_live(desk)
    with pytest.raises(ApprovalNeeded) as waiting:
        await desk.ops.keys.change(ALICE, key_id, KeyChange(roles=("trader", "viewer")))
    assert waiting.value.approval.id in str(waiting.value)
    assert (await desk.ops.keys.get(ALICE, key_id)).roles == ("trader",)


async def test_the_subject_is_looked_at_again_where_the_approval_is_spent(desk: Desk) -> None:
    """Between the gate and the transaction, somebody else thaws the key, and freezes it for another reason."""
    key_id = await make_live(desk)
    frozen = await desk.ops.keys.freeze(ALICE, key_id, reason="a false alarm")
    need = await needed(desk.ops.keys.unfreeze(ALICE, key_id))
    author = await desk.ops.gate.pass_(
        showing(ALICE, await desk.approved(need, BOB)),
        action="key.unfreeze",
        subject=key_id,
        environment="live",
        partner="acme",
        standing=Standing("key", key_id, frozen.revision),
    )
    await desk.room.custody.unfreeze_key(key_id, author=Author("cli:carol"))
    await desk.room.custody.freeze_key(key_id, author=Author("cli:carol", "the secret is out"))
    with pytest.raises(SubjectMoved):
        await desk.room.custody.unfreeze_key(key_id, author=author)
    assert (await desk.approvals.get(need.id)).state == "approved"


async def test_to_spend_an_approval_is_not_yet_to_do_anything(desk: Desk) -> None:
    """A change that records nothing of its own is not committed, and has used nothing up."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    wanted = Wanted(
        action=need.action,
        subject=need.subject,
        environment="live",
        partner="acme",
        change=need.change,
    )
    spending = Spending(approval=await desk.approved(need, BOB), wanted=wanted)
    with pytest.raises(changes.UnrecordedChange):
        async with desk.room.changes.begin(Author("cli:alice", clearance=spending)):
            pass
    assert (await desk.approvals.get(need.id)).state == "approved"
