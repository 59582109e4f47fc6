"""Grants: seen and revoked by whose they are, followed by every node, and forgotten at last."""

import msgspec
import pytest

from auth.oauth import grants
from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound
from keys.changes import Author
from storage import audit, engine, revision, schema
from tests.support import oauth_people as people
from tests.support.oauth_people import ANN, CLIENT, PUBLIC, Side, Somebody

ASKER = Author("person:ann")


async def test_a_person_sees_what_they_allowed(side: Side) -> None:
    """The newest first; of others nothing, and nothing that has ended."""
    bob = Somebody(account_id="bob")
    await people.enter_account(side.room, bob)
    first, _ = await people.begin(side)
    side.clock.now_ms += 1_000
    second, _ = await people.begin(side, PUBLIC, Bound())
    await people.allow(side, person=bob)
    listed = await side.flows.grants.list_of_account("ann")
    assert [each.id for each in listed] == [second.grant.id, first.grant.id]
    assert [each.client_id for each in listed] == [PUBLIC.id, CLIENT.id]
    assert len(await side.flows.grants.list_of_account("bob")) == 1
    side.clock.now_ms += people.TERMS.code_ms
    # Bob's code was never redeemed.
    assert await side.flows.grants.list_of_account("bob") == ()


async def test_revoking_is_a_change_that_every_node_follows(side: Side) -> None:
    """With a revision on the row, a wake-up, and an entry in the ledger that says why."""
    redeemed, _ = await people.begin(side)
    revoked = await side.flows.grants.revoke(redeemed.grant.id, ASKER, "not needed", account_id="ann")
    assert await side.flows.grants.list_of_account("ann") == ()
    async with engine.reading(side.engine) as conn:
        latest = await revision.current(conn)
        event = (await audit.tail(conn, 1))[0].event
    assert revoked.revision == latest == side.room.wakeup.announced[-1]
    assert (event.action, event.subject, event.actor) == ("grant.revoked", revoked.id, "person:ann")
    assert event.details == {"client": CLIENT.id, "account": "ann", "why": "not needed"}


async def test_nobody_revokes_what_is_not_theirs(side: Side) -> None:
    """Nor what is revoked, nor what never was."""
    redeemed, _ = await people.begin(side)
    for grant_id, account_id in ((redeemed.grant.id, "bob"), ("grant-none", "ann")):
        with pytest.raises(grants.UnknownGrant):
            await side.flows.grants.revoke(grant_id, ASKER, "", account_id=account_id)
    await side.flows.grants.revoke(redeemed.grant.id, ASKER, "", account_id="ann")
    with pytest.raises(grants.UnknownGrant):
        await side.flows.grants.revoke(redeemed.grant.id, ASKER, "", account_id="ann")


async def test_all_of_an_account_go_at_once(side: Side) -> None:
    """Each is told; none of anybody else's goes, and where there is none nothing is told."""
    bob = Somebody(account_id="bob")
    await people.enter_account(side.room, bob)
    allowed = [await people.begin(side), await people.begin(side, PUBLIC, Bound())]
    await people.allow(side, PUBLIC, bob)
    async with side.room.changes.begin(ASKER) as change:
        assert await grants.revoke_of_account(change, "ann", "gone") == 2
        assert await grants.revoke_of_account(change, "ann", "gone") == 0
        told = sorted(("grant.revoked", redeemed.grant.id) for redeemed, _ in allowed)
        assert change.recorded == told
    assert await side.flows.grants.list_of_account("ann") == ()
    assert len(await side.flows.grants.list_of_account("bob")) == 1


async def test_what_ended_long_ago_is_cleaned_away(side: Side) -> None:
    """With all that was made of it, by whoever allows something later; what lives stays."""
    old, _ = await people.begin(side)
    code = await people.allow(side)
    side.clock.now_ms = old.grant.expires_at + 3_600_001
    await people.allow(side, person=msgspec.structs.replace(ANN, authenticated_at=side.clock.now_ms))
    async with engine.reading(side.engine) as conn:
        for table, left in (
            (schema.oauth_grants, 1),
            (schema.oauth_codes, 1),
            (schema.oauth_refresh_tokens, 0),
        ):
            assert len((await conn.execute(table.select())).all()) == left
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code))
