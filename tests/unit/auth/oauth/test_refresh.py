"""Point 10: refresh tokens, which stay with those who prove a key, and change hands once with those who cannot."""

import pytest

from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound, Redeemed
from keys.changes import Author
from keys.served_clients import ServedClient, ServedPartner
from storage import engine, schema
from tests.support import oauth_people as people
from tests.support.custody import START_MS
from tests.support.oauth_people import ANN, BOUND, CLIENT, JKT, PUBLIC, Side


async def refresh(
    side: Side, value: str, client: ServedClient = CLIENT, bound: Bound = BOUND, scope: str | None = None
) -> Redeemed:
    return await side.flows.refresh_tokens.redeem(client, value, scope=scope, bound=bound)


async def test_point_10_who_proves_a_key_keeps_the_refresh_token(side: Side) -> None:
    """As often as they like, and none is given anew."""
    redeemed, value = await people.begin(side)
    for _ in range(3):
        again = await refresh(side, value)
        assert (again.refresh, again.scope, again.grant.id) == (None, redeemed.scope, redeemed.grant.id)


async def test_point_10_a_public_client_gets_another_one_each_time(side: Side) -> None:
    """And the family's end does not move."""
    redeemed, value = await people.begin(side, PUBLIC, Bound())
    for _ in range(3):
        side.clock.now_ms += 1_000
        renewed = await refresh(side, value, PUBLIC, Bound())
        assert renewed.refresh is not None
        assert renewed.refresh.reveal() != value
        assert renewed.grant.expires_at == redeemed.grant.expires_at
        value = renewed.refresh.reveal()


async def test_point_10_reuse_of_a_rotated_one_ends_the_family(side: Side) -> None:
    """The one that replaced it, too: nobody can tell which of the two hands is the client's."""
    _, first = await people.begin(side, PUBLIC, Bound())
    renewed = await refresh(side, first, PUBLIC, Bound())
    assert renewed.refresh is not None
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, first, PUBLIC, Bound())
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, renewed.refresh.reveal(), PUBLIC, Bound())
    async with engine.reading(side.engine) as conn:
        grant = (await conn.execute(schema.oauth_grants.select())).one()
    assert grant.revoked_reason == "a refresh token came twice"


async def test_point_10_reuse_ends_the_family_whatever_else_is_wrong(side: Side) -> None:
    """Whoever has it, and whatever they ask for with it."""
    for bound, scope in ((Bound(), None), (BOUND, "orders:write")):
        _, first = await people.begin(side, PUBLIC, BOUND)
        renewed = await refresh(side, first, PUBLIC, BOUND)
        assert renewed.refresh is not None
        with pytest.raises(Refused, match="invalid_grant"):
            await refresh(side, first, PUBLIC, bound, scope)
        with pytest.raises(Refused, match="invalid_grant"):
            await refresh(side, renewed.refresh.reveal(), PUBLIC, BOUND)


async def test_one_gives_tokens_for_the_resource_that_was_allowed(side: Side) -> None:
    """RFC 8707: another one is refused, and uses up nothing."""
    _, value = await people.begin(side, PUBLIC, Bound())
    tokens = side.flows.refresh_tokens
    with pytest.raises(Refused, match="invalid_target"):
        await tokens.redeem(PUBLIC, value, scope=None, bound=Bound(), resource=people.API)
    await tokens.redeem(PUBLIC, value, scope=None, bound=Bound(), resource=people.ISSUER)


async def test_point_10_a_public_client_with_a_key_rotates_and_is_bound(side: Side) -> None:
    """Both, since anybody can name it."""
    _, value = await people.begin(side, PUBLIC, BOUND)
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value, PUBLIC, Bound())
    assert (await refresh(side, value, PUBLIC, BOUND)).refresh is not None


async def test_point_10_a_bearer_one_of_a_confidential_client_rotates(side: Side) -> None:
    """It is bound to nothing that a thief would lack but the client's secret."""
    client = people.make_client(
        binding=None, authentication="client_secret_basic", exceptions=frozenset({"bearer-tokens"})
    )
    _, value = await people.begin(side, client, Bound())
    assert (await refresh(side, value, client, Bound())).refresh is not None


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (BOUND, Bound()),
        (BOUND, Bound(jkt="o" * 43)),
        (BOUND, Bound(x5t=JKT)),
        (Bound(x5t=JKT), Bound()),
        (Bound(x5t=JKT), Bound(x5t="o" * 43)),
        (Bound(x5t=JKT), Bound(jkt=JKT)),
    ],
)
async def test_point_10_a_bound_one_takes_the_same_key_or_certificate(
    side: Side, made: Bound, shown: Bound
) -> None:
    """Another one is refused, and uses nothing up."""
    _, value = await people.begin(side, CLIENT, made)
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value, CLIENT, shown)
    await refresh(side, value, CLIENT, made)


async def test_one_is_its_clients_alone(side: Side) -> None:
    """Another client's attempt changes nothing."""
    _, value = await people.begin(side, PUBLIC, Bound())
    for wrong in (value + "x", "", "\ud800"):
        with pytest.raises(Refused, match="invalid_grant"):
            await refresh(side, wrong, PUBLIC, Bound())
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value, CLIENT, Bound())
    await refresh(side, value, PUBLIC, Bound())


async def test_scope_only_narrows(side: Side) -> None:
    """For once: the next time all of it may be asked for again."""
    _, value = await people.begin(side)
    assert (await refresh(side, value, scope="prices:read")).scope == {"prices:read"}
    assert (await refresh(side, value)).scope == {"orders:read", "prices:read"}
    for wider in ("orders:read orders:write", "orders:write", "", " "):
        with pytest.raises(Refused, match="invalid_scope"):
            await refresh(side, value, scope=wider)


async def test_a_wider_scope_does_not_use_up_one_that_rotates(side: Side) -> None:
    """A mistake of the client's is no reuse."""
    _, value = await people.begin(side, PUBLIC, Bound())
    with pytest.raises(Refused, match="invalid_scope"):
        await refresh(side, value, PUBLIC, Bound(), "orders:write")
    await refresh(side, value, PUBLIC, Bound())


async def test_one_ends_with_its_grant(side: Side) -> None:
    """After the time that is configured, to the millisecond."""
    _, value = await people.begin(side)
    side.clock.now_ms += people.TERMS.refresh_ms - 1
    await refresh(side, value)
    side.clock.now_ms += 1
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value)


async def test_one_is_worth_nothing_beyond_its_grant(side: Side) -> None:
    """Whatever its own row says."""
    _, value = await people.begin(side)
    async with engine.transaction(side.engine) as conn:
        await conn.execute(schema.oauth_grants.update().values(expires_at=side.clock.now_ms))
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": "disabled"}, "the account is not active"),
        ({"signed_out_at": START_MS + 1}, "the person signed out everywhere"),
        ({"partner_id": None}, "the person belongs to another partner"),
    ],
)
async def test_an_account_that_ended_ends_the_family(side: Side, change: dict[str, object], why: str) -> None:
    """For good: that it comes back gives nothing back."""
    _, value = await people.begin(side)
    await people.change_account(side.room, "ann", **change)
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value)
    async with engine.reading(side.engine) as conn:
        assert (await conn.execute(schema.oauth_grants.select())).one().revoked_reason == why
    await people.change_account(side.room, "ann", state="active", signed_out_at=None, partner_id="acme")
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value)


async def test_what_the_person_lost_is_lost(side: Side) -> None:
    """A role that was taken from them goes; one that they were given since was never allowed."""
    _, value = await people.begin(side)
    await people.change_account(side.room, "ann", roles=["viewer"])
    with pytest.raises(Refused, match="invalid_scope"):
        await refresh(side, value)
    await people.change_account(side.room, "ann", roles=["viewer", "trader"])
    assert (await refresh(side, value)).roles == ("trader",)


async def test_what_the_client_lost_is_lost(side: Side) -> None:
    """From the next token on."""
    _, value = await people.begin(side)
    narrowed = people.make_client(permissions=("prices:read",))
    assert (await refresh(side, value, narrowed)).scope == {"prices:read"}


async def test_a_frozen_partner_gets_nothing_and_loses_nothing(side: Side) -> None:
    """Thawed, it goes on."""
    _, value = await people.begin(side)
    side.clients.partners["acme"] = ServedPartner("acme", "standard", frozen=True)
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value)
    side.clients.partners["acme"] = ServedPartner("acme", "standard", frozen=False)
    await refresh(side, value)


async def test_a_revoked_grant_refreshes_nothing(side: Side) -> None:
    """Whoever revoked it."""
    redeemed, value = await people.begin(side)
    await side.flows.grants.revoke(redeemed.grant.id, Author(f"person:{ANN.account_id}"), "not needed")
    with pytest.raises(Refused, match="invalid_grant"):
        await refresh(side, value)
