"""Point 9: what a person's answer comes to, and what goes back with the browser."""

import msgspec
import pytest

from auth.oauth import redirects
from auth.oauth.authorization import NoSuchRequest
from auth.oauth.refusals import Refused
from keys.served_clients import ServedPartner
from storage import audit, engine, schema
from tests.support import oauth_people as people
from tests.support.custody import START_MS
from tests.support.oauth_people import ANN, CLIENT, ISSUER, PUBLIC, REDIRECT, Side, Somebody


async def test_point_9_every_response_names_its_issuer(side: Side) -> None:
    """With the state that the client sent, be it a code or an error, whatever stands in either."""
    pending = await people.push(side, state="a&b=c #?é".encode("ascii", "replace").decode())
    allowed = await side.flows.authorization.approve(pending, ANN, frozenset(pending.scope))
    assert allowed.startswith(REDIRECT + "?code=")
    answer = people.answer_of(allowed)
    assert set(answer) == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == ("a&b=c #??", ISSUER)
    denied = await side.flows.authorization.deny(await people.push(side))
    assert people.answer_of(denied) == {"error": "access_denied", "state": "a state", "iss": ISSUER}
    needed = await side.flows.authorization.deny(await people.push(side, state=None), "login_required")
    assert people.answer_of(needed) == {"error": "login_required", "iss": ISSUER}


async def test_point_9_nothing_is_sent_to_a_redirect_uri_that_is_not_registered_now(side: Side) -> None:
    """What was pushed before it was taken away is not answered."""
    pushed = await side.flows.requests.push(CLIENT, people.form(), None)
    side.clients.clients[CLIENT.id] = people.make_client(redirect_uris=("https://new.example/",))
    with pytest.raises(NoSuchRequest):
        await side.flows.authorization.find(CLIENT.id, pushed.request_uri)


@pytest.mark.parametrize(
    ("asked", "registered", "matches"),
    [
        ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb", True),
        ("http://127.0.0.1/cb", "http://127.0.0.1:8000/cb", True),
        ("http://[::1]:65535/cb", "http://[::1]/cb", True),
        ("http://127.0.0.1:1", "http://127.0.0.1", True),
        ("http://127.0.0.1:1/cb?x=1", "http://127.0.0.1/cb?x=1", True),
        ("http://127.0.0.1:1/cb?x=2", "http://127.0.0.1/cb?x=1", False),
        ("http://127.0.0.1:65536/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:1:2/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:\uff11/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.2:1/cb", "http://127.0.0.1/cb", False),
        ("http://[::1]:1/cb", "http://127.0.0.1/cb", False),
        ("https://127.0.0.1:1/cb", "https://127.0.0.1/cb", False),
        ("http://localhost:1/cb", "http://localhost/cb", False),
        ("https://app.example:8443/cb", "https://app.example/cb", False),
        ("http://127.0.0.1.evil.example/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:1@evil.example/cb", "http://127.0.0.1/cb", False),
        ("https://app.example/cb#x", "https://app.example/cb", False),
    ],
)
def test_point_9_redirect_uris_match_exactly_but_for_a_loopback_port(
    asked: str, registered: str, matches: bool
) -> None:
    """RFC 8252: the port is the application's, and nothing else is."""
    assert redirects.is_registered(asked, (registered,)) is matches


def test_a_response_joins_what_the_uri_has() -> None:
    """A query of the client's own stays."""
    assert (
        redirects.add("https://a.example/?x=1", {"code": "a b", "state": None})
        == "https://a.example/?x=1&code=a%20b"
    )


async def test_scope_is_what_was_asked_for_and_given_and_had_by_both(side: Side) -> None:
    """More than was asked for is not given by ticking it, nor what the person lacks."""
    viewer = Somebody(account_id="vic", roles=("viewer",))
    await people.enter_account(side.room, viewer)
    pending = await people.push(side, scope="orders:read orders:write")
    assert side.flows.authorization.givable(pending, viewer) == {"orders:read"}
    ticked = frozenset({"orders:read", "orders:write", "prices:read"})
    code = people.answer_of(await side.flows.authorization.approve(pending, viewer, ticked))["code"]
    redeemed = await side.flows.codes.redeem(CLIENT, people.show(code))
    assert redeemed.scope == {"orders:read"}
    assert redeemed.roles == ("viewer",)


async def test_nobody_gives_what_they_have_not(side: Side) -> None:
    """Nothing ticked, nothing had, control permissions, no partner, a frozen one: the client is told no."""
    frozen = Somebody(account_id="fay", partner="frozen")
    side.clients.partners["frozen"] = ServedPartner("frozen", "standard", frozen=True)
    for person, scope in (
        (ANN, frozenset[str]()),
        (msgspec.structs.replace(ANN, roles=()), frozenset({"orders:read"})),
        (msgspec.structs.replace(ANN, partner=None), frozenset({"orders:read"})),
        (msgspec.structs.replace(ANN, partner="unknown"), frozenset({"orders:read"})),
        (frozen, frozenset({"orders:read"})),
    ):
        answer = people.answer_of(
            await side.flows.authorization.approve(await people.push(side), person, scope)
        )
        assert answer["error"] == "access_denied"
        assert answer["iss"] == ISSUER
    async with engine.reading(side.engine) as conn:
        assert (await conn.execute(schema.oauth_grants.select())).first() is None


async def test_a_client_of_the_legacy_tier_never_gets_trading_permissions(side: Side) -> None:
    """Not even from somebody who has them."""
    with pytest.raises(Refused, match="invalid_scope"):
        await people.push(side, PUBLIC, scope="orders:read orders:write")
    pending = await people.push(side, PUBLIC, scope=None)
    assert side.flows.authorization.givable(pending, ANN) == {"orders:read", "prices:read"}


async def test_no_token_carries_a_permission_of_the_control_surface(side: Side) -> None:
    """Not for a client that has it, and not from a person who has it."""
    client = side.clients.clients[CLIENT.id] = people.make_client(roles=("trader", "officer"))
    officer = Somebody(account_id="ora", roles=("officer",))
    with pytest.raises(Refused, match="invalid_scope"):
        await people.push(side, client, scope="control:freeze")
    pending = await people.push(side, client, scope=None)
    assert "control:freeze" not in pending.scope
    asked = msgspec.structs.replace(pending, scope=(*pending.scope, "control:freeze"))
    assert side.flows.authorization.givable(asked, officer) == {"orders:read"}


async def test_who_allows_acts_for_their_own_partner(side: Side) -> None:
    """Whosoever's the client is."""
    await people.enter_partner(side.room, "globex")
    side.clients.partners["globex"] = ServedPartner("globex", "standard", frozen=False)
    gil = Somebody(account_id="gil", partner="globex")
    await people.enter_account(side.room, gil)
    redeemed = await side.flows.codes.redeem(CLIENT, people.show(await people.allow(side, person=gil)))
    assert (redeemed.grant.partner, redeemed.grant.client_id) == ("globex", CLIENT.id)


@pytest.mark.parametrize(
    "change", [{"state": "disabled"}, {"signed_out_at": START_MS + 1}, {"partner_id": None}]
)
async def test_an_account_that_ended_meanwhile_allows_nothing(side: Side, change: dict[str, object]) -> None:
    """Whatever the page still believes."""
    pending = await people.push(side)
    await people.change_account(side.room, "ann", **change)
    with pytest.raises(NoSuchRequest):
        await side.flows.authorization.approve(pending, ANN, frozenset(pending.scope))


async def test_what_was_allowed_stands_in_the_ledger(side: Side) -> None:
    """Who, to which client, what; and nothing that anybody could present."""
    pending = await people.push(side)
    scope = frozenset(pending.scope)
    await side.flows.authorization.approve(pending, ANN, scope, source="192.0.2.7")
    async with engine.reading(side.engine) as conn:
        event = (await audit.tail(conn, 1))[0].event
    assert (event.action, event.actor, event.source, event.partner, event.environment) == (
        "grant.allowed",
        "person:ann",
        "192.0.2.7",
        "acme",
        "paper",
    )
    assert event.details == {
        "client": CLIENT.id,
        "account": "ann",
        "scope": ["orders:read", "prices:read"],
    }
