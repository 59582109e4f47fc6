"""Who takes a freeze of a key back: whoever reaches one partner alone takes back no more than their own."""

from __future__ import annotations

import pytest

from gateway.operations import Operator
from keys import api_keys
from keys.changes import Author
from keys.leaks import Suspect
from keys.records import CreatedKey
from keys.secret import Secret
from keys.thawing import FrozenFromAbove
from tests.support.desk import Desk, needed, person, showing

ALICE, BOB = person("alice"), person("bob")
ANNA, ABEL = person("anna", partner="acme"), person("abel", partner="acme")


async def make(desk: Desk) -> CreatedKey:
    return await desk.room.create_key(environment="live")


async def report(desk: Desk, key: CreatedKey, by: Operator = ALICE) -> None:
    assert key.secret is not None
    await desk.ops.leaks.report(by, [Suspect(Secret(key.secret.reveal()))])


async def thaw(desk: Desk, key_id: str, asks: Operator, agrees: Operator) -> None:
    need = await needed(desk.ops.keys.unfreeze(asks, key_id))
    await desk.approved(need, agrees)
    await desk.ops.keys.unfreeze(showing(asks, need.id), key_id)


async def require_stays_frozen(desk: Desk, key_id: str) -> None:
    """Two of the partner do not even get as far as to ask; two of the gateway thaw it."""
    with pytest.raises(FrozenFromAbove, match="only they thaw it"):
        await desk.ops.keys.unfreeze(ANNA, key_id)
    assert (await desk.ops.approvals.find_page(ALICE, state="open")).approvals == ()
    await thaw(desk, key_id, ALICE, BOB)
    assert (await desk.ops.keys.get(ALICE, key_id)).frozen_at is None


async def test_two_of_a_partner_thaw_what_one_of_it_froze(desk: Desk) -> None:
    """Again and again, also after the gateway's own operators have once frozen and thawed it."""
    key_id = (await make(desk)).key.id
    await desk.ops.keys.freeze(ALICE, key_id)
    await thaw(desk, key_id, ALICE, BOB)
    for _ in range(2):
        await desk.ops.keys.freeze(ABEL, key_id)
        await thaw(desk, key_id, ANNA, ABEL)
    assert (await desk.ops.keys.get(ANNA, key_id)).frozen_at is None


async def test_what_the_gateway_s_operators_froze_is_theirs(desk: Desk) -> None:
    """Whatever permission the partner's own hold; also where theirs was the freeze before."""
    key_id = (await make(desk)).key.id
    await desk.ops.keys.freeze(ANNA, key_id)
    await thaw(desk, key_id, ANNA, ABEL)
    await desk.ops.keys.freeze(ALICE, key_id, reason="a kill switch")
    await require_stays_frozen(desk, key_id)


async def test_a_freeze_of_the_partner_s_is_taken_over(desk: Desk) -> None:
    """Else whoever freezes their own key first keeps the gateway's operators from freezing it for good."""
    key_id = (await make(desk)).key.id
    await desk.ops.keys.freeze(ANNA, key_id, reason="ours")
    taken = await desk.ops.keys.freeze(ALICE, key_id, reason="theirs")
    assert taken.frozen_reason == "theirs"
    for again in (ALICE, ANNA):
        with pytest.raises(api_keys.KeyAlreadyFrozen):
            await desk.ops.keys.freeze(again, key_id)
    await require_stays_frozen(desk, key_id)


@pytest.mark.parametrize("reporter", [ALICE, ANNA])
async def test_what_a_leak_froze_is_not_the_partner_s(desk: Desk, reporter: Operator) -> None:
    """Whoever reported it."""
    key = await make(desk)
    await report(desk, key, reporter)
    await require_stays_frozen(desk, key.key.id)


async def test_a_leak_of_what_was_frozen_counts_too(desk: Desk) -> None:
    """The partner had frozen it for a holiday; then its secret was found."""
    key = await make(desk)
    await desk.ops.keys.freeze(ANNA, key.key.id)
    await report(desk, key)
    await require_stays_frozen(desk, key.key.id)


async def test_it_is_looked_at_again_where_the_key_is_thawed(desk: Desk) -> None:
    """Whoever has passed the gate before it was taken over has not thawed it yet."""
    key_id = (await make(desk)).key.id
    await desk.ops.keys.freeze(ALICE, key_id)
    with pytest.raises(FrozenFromAbove):
        await desk.room.custody.unfreeze_key(key_id, within="acme", author=Author("cli:anna"))
    assert (await desk.ops.keys.get(ALICE, key_id)).frozen_at is not None
