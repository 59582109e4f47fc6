"""Point 7: pushed requests, each checked whole against its client before anybody sees it."""

import pytest

from auth.oauth.authorization import NoSuchRequest
from auth.oauth.refusals import Refused
from auth.oauth.terms import LONGEST_REQUEST_MS
from storage import engine, schema
from tests.support import oauth_people as people
from tests.support.oauth_people import ANN, API, CLIENT, ISSUER, JKT, PUBLIC, Side


async def test_point_7_a_request_is_found_by_its_client_until_it_is_answered(side: Side) -> None:
    """As often as the page is shown; once answered it is gone."""
    pushed = await side.flows.requests.push(
        CLIENT, people.form(nonce="n", max_age="60", prompt="login"), None
    )
    assert pushed.request_uri.startswith("urn:ietf:params:oauth:request_uri:")
    assert pushed.expires_in_s == 90
    find = side.flows.authorization.find
    pending = await find(CLIENT.id, pushed.request_uri)
    assert (await find(CLIENT.id, pushed.request_uri)).digest == pending.digest
    assert (pending.scope, pending.resource) == (("orders:read", "prices:read"), ISSUER)
    assert (pending.state, pending.nonce, pending.prompt) == ("a state", "n", ("login",))
    assert (pending.max_age_ms, pending.client) == (60_000, CLIENT)
    await side.flows.authorization.deny(pending)
    with pytest.raises(NoSuchRequest):
        await find(CLIENT.id, pushed.request_uri)


async def test_point_7_a_request_is_answered_once(side: Side) -> None:
    """Whoever still holds what was found answers nothing any more."""
    pending = await people.push(side)
    await side.flows.authorization.approve(pending, ANN, frozenset(pending.scope))
    with pytest.raises(NoSuchRequest):
        await side.flows.authorization.approve(pending, ANN, frozenset(pending.scope))
    with pytest.raises(NoSuchRequest):
        await side.flows.authorization.deny(pending)


async def test_point_7_a_request_lives_less_than_600_seconds(side: Side) -> None:
    """Opened in time there is time to sign in; too late is too late, and ten minutes are nobody's."""
    pushed = await side.flows.requests.push(CLIENT, people.form(), None)
    late = await side.flows.requests.push(CLIENT, people.form(), None)
    side.clock.now_ms += 89_999
    pending = await side.flows.authorization.find(CLIENT.id, pushed.request_uri)
    side.clock.now_ms += 1
    with pytest.raises(NoSuchRequest):
        await side.flows.authorization.find(CLIENT.id, late.request_uri)
    assert pending.expires_at - pending.created_at == LONGEST_REQUEST_MS < 600_000
    side.clock.now_ms = pending.expires_at - 1
    await side.flows.authorization.find(CLIENT.id, pushed.request_uri)
    side.clock.now_ms += 1
    with pytest.raises(NoSuchRequest):
        await side.flows.authorization.approve(pending, ANN, frozenset(pending.scope))


async def test_point_7_a_request_is_its_clients_alone(side: Side) -> None:
    """Another client's name with it finds nothing, nor does a URI of another kind."""
    pushed = await side.flows.requests.push(CLIENT, people.form(), None)
    for client_id, uri in (
        (PUBLIC.id, pushed.request_uri),
        ("nobody", pushed.request_uri),
        (CLIENT.id, pushed.request_uri + "x"),
        (CLIENT.id, pushed.request_uri.removeprefix("urn:")),
        (CLIENT.id, "https://app.example/request.jwt"),
    ):
        with pytest.raises(NoSuchRequest):
            await side.flows.authorization.find(client_id, uri)


async def test_a_client_that_may_no_longer_has_no_requests(side: Side) -> None:
    """Frozen, without the grant, or without the redirect URI: all as of now."""
    pushed = await side.flows.requests.push(CLIENT, people.form(), None)
    changes: tuple[dict[str, object], ...] = (
        {"frozen": True},
        {"grants": frozenset()},
        {"redirect_uris": ()},
    )
    for change in changes:
        side.clients.clients[CLIENT.id] = people.make_client(**change)
        with pytest.raises(NoSuchRequest):
            await side.flows.authorization.find(CLIENT.id, pushed.request_uri)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"client_id": PUBLIC.id}, "invalid_request"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": "https://app.example/callback/"}, "invalid_request"),
        ({"redirect_uri": "https://app.example/callback?x=1"}, "invalid_request"),
        ({"redirect_uri": "https://APP.example/callback"}, "invalid_request"),
        ({"redirect_uri": "https://app.example:443/callback"}, "invalid_request"),
        ({"redirect_uri": "https://app.example.evil/callback"}, "invalid_request"),
        ({"redirect_uri": "http://localhost:8000/callback"}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:99999/callback"}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:8000@evil.example/callback"}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:8000/other"}, "invalid_request"),
        ({"scope": "orders:read control:freeze"}, "invalid_scope"),
        ({"scope": "orders:read  prices:read"}, "invalid_scope"),
        ({"scope": "nothing:known"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "x" * 42}, "invalid_request"),
        ({"code_challenge": "x" * 129}, "invalid_request"),
        ({"code_challenge": "x" * 42 + "="}, "invalid_request"),
        ({"state": "x" * 1_025}, "invalid_request"),
        ({"state": "x\n"}, "invalid_request"),
        ({"nonce": "x" * 1_025}, "invalid_request"),
        ({"login_hint": "x" * 321}, "invalid_request"),
        ({"login_hint": "a\x00b"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "1" * 10}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"dpop_jkt": "short"}, "invalid_request"),
        ({"dpop_jkt": "o" * 43}, "invalid_request"),
    ],
)
async def test_point_7_what_pushing_refuses(side: Side, change: dict[str, str | None], error: str) -> None:
    """Each by the name that its RFC gives it, and nothing is stored."""
    with pytest.raises(Refused) as refused:
        await side.flows.requests.push(CLIENT, people.form(**change), JKT)
    assert refused.value.error == error
    async with engine.reading(side.engine) as conn:
        assert (await conn.execute(schema.oauth_requests.select())).first() is None


async def test_what_pushing_takes(side: Side) -> None:
    """A loopback port of the application's own; another resource; less than the client has, or all of it."""
    taken = await people.push(side, redirect_uri="http://127.0.0.1:49152/callback", resource=API)
    assert (taken.redirect_uri, taken.resource) == ("http://127.0.0.1:49152/callback", API)
    everything = await people.push(side, scope=None, state=None)
    assert (everything.scope, everything.state) == (("orders:read", "orders:write", "prices:read"), None)
    legacy = await people.push(side, PUBLIC, scope=None)
    assert legacy.scope == ("orders:read", "prices:read")
    with pytest.raises(Refused, match="unauthorized_client"):
        await people.push(side, people.make_client(grants=frozenset({"client_credentials"})))


async def test_a_request_is_bound_to_the_key_that_was_named_or_proved(side: Side) -> None:
    """Both, and they agree."""
    assert (await people.push(side)).jkt is None
    assert (await people.push(side, dpop_jkt=JKT)).jkt == JKT
    assert (await people.push(side, proved=JKT)).jkt == JKT
    assert (await people.push(side, proved=JKT, dpop_jkt=JKT)).jkt == JKT


@pytest.mark.parametrize("jkt", ["short", "k" * 44, "k" * 42 + "="])
async def test_what_is_named_as_a_key_is_a_thumbprint(side: Side, jkt: str) -> None:
    """Where no proof says which."""
    with pytest.raises(Refused, match="invalid_request"):
        await people.push(side, dpop_jkt=jkt)


async def test_the_store_holds_no_request_uri(side: Side) -> None:
    """Whoever reads the rows cannot go on with any of them."""
    pushed = await side.flows.requests.push(CLIENT, people.form(), None)
    async with engine.reading(side.engine) as conn:
        row = (await conn.execute(schema.oauth_requests.select())).one()
    assert pushed.request_uri.rsplit(":", 1)[1] not in repr(row)


async def test_requests_that_are_over_are_cleaned_away(side: Side) -> None:
    """By whoever pushes later; what still lives stays."""
    for _ in range(3):
        await people.push(side)
    side.clock.now_ms += 2 * LONGEST_REQUEST_MS + 1
    await people.push(side)
    async with engine.reading(side.engine) as conn:
        assert len((await conn.execute(schema.oauth_requests.select())).all()) == 1
