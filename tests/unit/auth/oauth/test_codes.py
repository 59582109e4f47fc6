"""Point 8: codes, for one client, one place, one verifier, one key, once."""

import msgspec
import pytest

from auth.oauth import pkce
from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound
from storage import engine, schema
from tests.support import oauth_people as people
from tests.support.custody import START_MS
from tests.support.oauth_people import ANN, CHALLENGE, CLIENT, JKT, PUBLIC, VERIFIER, Side


async def require_dead(side: Side, why: str) -> None:
    """The family is gone, and the ledger says why."""
    assert await side.flows.grants.list_of_account(ANN.account_id) == ()
    async with engine.reading(side.engine) as conn:
        grants = (await conn.execute(schema.oauth_grants.select())).all()
        assert [each.revoked_reason for each in grants if each.revoked_at is not None] == [why]


async def test_a_code_is_redeemed_for_what_was_allowed(side: Side) -> None:
    """Whose it is, for how long, and by what they had proved themselves."""
    redeemed = await side.flows.codes.redeem(CLIENT, people.show(await people.allow(side)))
    assert redeemed.scope == {"orders:read", "prices:read"}
    assert redeemed.roles == ("trader",)
    assert redeemed.refresh is not None
    grant = redeemed.grant
    assert (grant.account_id, grant.partner, grant.client_id) == ("ann", "acme", CLIENT.id)
    assert grant.authenticated_at == START_MS
    assert grant.methods == ("otp", "pwd")
    assert grant.expires_at == START_MS + people.TERMS.refresh_ms
    listed = await side.flows.grants.list_of_account("ann")
    assert [each.id for each in listed] == [grant.id]


@pytest.mark.parametrize("verifier", [None, "", "v" * 42, "v" * 129, "v" * 42 + "é", "v" * 42 + " "])
async def test_point_8_a_verifier_that_cannot_be_one_is_refused(side: Side, verifier: str | None) -> None:
    """Before the code is looked at: it stays good."""
    code = await people.allow(side)
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code, verifier=verifier))
    await side.flows.codes.redeem(CLIENT, people.show(code))


async def test_point_8_another_verifier_ends_the_family(side: Side) -> None:
    """The challenge itself is none: `plain` is not what it says."""
    code = await people.allow(side)
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code, verifier=CHALLENGE))
    await require_dead(side, "an authorization code came with another verifier")
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code))


async def test_point_8_a_code_lives_at_most_60_seconds(side: Side) -> None:
    """To the millisecond, whatever longer time was configured."""
    in_time, late = await people.allow(side), await people.allow(side)
    assert msgspec.structs.replace(people.TERMS, code_ms=600_000).code_ms == 60_000
    side.clock.now_ms += 59_999
    await side.flows.codes.redeem(CLIENT, people.show(in_time))
    side.clock.now_ms += 1
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(late))


async def test_point_8_a_code_that_comes_twice_ends_the_family(side: Side) -> None:
    """Be it long after it has expired; what was refreshed of it is over, too."""
    code = await people.allow(side)
    redeemed = await side.flows.codes.redeem(CLIENT, people.show(code))
    side.clock.now_ms += 3_600_000
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code))
    await require_dead(side, "an authorization code came twice")
    assert redeemed.refresh is not None
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.refresh_tokens.redeem(
            CLIENT, redeemed.refresh.reveal(), scope=None, bound=people.BOUND
        )


@pytest.mark.parametrize("redirect", [None, "", people.REDIRECT + "/", "http://127.0.0.1/callback"])
async def test_point_8_a_code_is_bound_to_its_redirect_uri(side: Side, redirect: str | None) -> None:
    """Not to any that the client has registered: to the one that it was sent to."""
    code = await people.allow(side)
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code, redirect_uri=redirect))
    await require_dead(side, "an authorization code came with another redirect URI")


async def test_point_8_a_code_is_bound_to_the_port_that_it_was_sent_to(side: Side) -> None:
    """A loopback application's port is its own to choose, once."""
    uri = "http://127.0.0.1:49152/callback"
    code = await people.allow(side, redirect_uri=uri)
    await side.flows.codes.redeem(CLIENT, people.show(code, redirect_uri=uri))
    code = await people.allow(side, redirect_uri=uri)
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code, redirect_uri=uri.replace("49152", "49153")))


async def test_point_8_a_code_is_bound_to_its_client(side: Side) -> None:
    """Another client's attempt neither redeems nor burns it."""
    code = await people.allow(side)
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(PUBLIC, people.show(code))
    await side.flows.codes.redeem(CLIENT, people.show(code))


@pytest.mark.parametrize("bound", [Bound(), Bound(jkt="o" * 43), Bound(x5t=JKT)])
async def test_point_8_a_code_is_bound_to_its_dpop_key(side: Side, bound: Bound) -> None:
    """Named when the request was pushed: no other key will do, nor none."""
    code = await people.allow(side, proved=JKT)
    with pytest.raises(Refused, match="invalid_grant"):
        await side.flows.codes.redeem(CLIENT, people.show(code, bound=bound))
    await require_dead(side, "an authorization code came with another key")


async def test_a_code_gives_tokens_for_the_resource_that_was_allowed(side: Side) -> None:
    """RFC 8707: another one is refused, and uses up nothing."""
    code = await people.allow(side, resource=people.API)
    with pytest.raises(Refused, match="invalid_target"):
        await side.flows.codes.redeem(CLIENT, people.show(code, resource=people.ISSUER))
    redeemed = await side.flows.codes.redeem(CLIENT, people.show(code, resource=people.API))
    assert redeemed.grant.resource == people.API


async def test_what_is_no_code_is_refused(side: Side) -> None:
    """Letters that no encoding can hold among it."""
    for code in ("", "x", "x" * 10_000, "\ud800"):
        with pytest.raises(Refused, match="invalid_grant"):
            await side.flows.codes.redeem(CLIENT, people.show(code))


async def test_a_client_without_refresh_tokens_gets_none(side: Side) -> None:
    """And its grant ends with its access token."""
    client = people.make_client(grants=frozenset({"authorization_code"}))
    redeemed = await side.flows.codes.redeem(client, people.show(await people.allow(side, client)))
    assert redeemed.refresh is None
    side.clock.now_ms += people.TERMS.access_ms
    assert await side.flows.grants.list_of_account("ann") == ()


async def test_the_store_holds_no_code(side: Side) -> None:
    """Nor does the ledger."""
    code = await people.allow(side)
    async with engine.reading(side.engine) as conn:
        for table in (schema.oauth_codes, schema.audit_events):
            assert code not in repr((await conn.execute(table.select())).all())


def test_point_8_the_example_of_rfc_7636() -> None:
    """Appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert pkce.made(verifier, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
    assert not pkce.made(VERIFIER, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
