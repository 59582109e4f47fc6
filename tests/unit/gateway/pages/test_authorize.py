"""A client's request before the person it is about, from their sign-in to the way back to the client."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from gateway.pages import guarding
from tests.support.page_site import ORIGIN, PASSWORD, REDIRECT, Site
from tests.support.page_visits import Visitor

STEP_UP_MS = 300_000


def answered(visitor: Visitor) -> dict[str, str]:
    """What the client is told, at its own redirect URI."""
    assert visitor.location.startswith(REDIRECT + "&"), visitor.page
    return {name: each[0] for name, each in parse_qs(urlsplit(visitor.location).query).items()}


async def test_from_the_app_through_signing_in_back_to_the_app(site: Site) -> None:
    """The whole way: what was asked is still there after the sign-in, and the code goes to the client."""
    _, _, device = await site.trader()
    address = await site.push(await site.client())
    visitor = site.visitor()
    await visitor.open(address)
    assert visitor.location.startswith("/oauth/sign-in?to=authorize&client_id=prc_paper_")
    await visitor.follow()
    assert "Order Desk" in visitor.text
    await visitor.send("/oauth/sign-in", email="tom@acme.example", password=PASSWORD)
    await visitor.follow()
    await visitor.send("/oauth/sign-in/code", code=device.code())
    assert visitor.location == address.replace(":", "%3A")
    await visitor.follow()
    assert visitor.page.status == 200
    for shown in (
        "Order Desk",
        "acme",
        "PAPER",
        "Place and cancel orders",
        "See orders",
        "30 days",
        "app.example",
    ):
        assert shown in visitor.text, shown
    assert "pictures.example" in visitor.text
    assert '<img src="https' not in visitor.text
    await visitor.send("/oauth/authorize", decision="allow")
    told = answered(visitor)
    assert told.keys() == {"app", "code", "state", "iss"}
    assert (told["state"], told["iss"]) == ("s-1", ORIGIN)


async def test_a_refusal_reaches_the_client_and_gives_nothing(site: Site) -> None:
    """And the request is used up by it."""
    account, visitor = await site.newcomer()
    address = await site.push(await site.client(), scope="orders:read")
    await visitor.open(address)
    await visitor.send("/oauth/authorize", decision="deny")
    assert answered(visitor)["error"] == "access_denied"
    assert await site.services.flows.grants.list_of_account(account.id) == ()
    await visitor.open(address)
    assert (visitor.page.status, "nothing to answer" in visitor.text) == (400, True)


async def test_only_what_stays_ticked_is_given(site: Site) -> None:
    """Every permission can be left out."""
    account, visitor, _ = await site.trader()
    address = await site.push(await site.client())
    await visitor.open(address)
    await visitor.send("/oauth/authorize", decision="allow", **{"allow-orders:write": None})
    assert "code" in answered(visitor)
    (grant,) = await site.services.flows.grants.list_of_account(account.id)
    assert grant.scope == ("orders:read",)


async def test_nobody_gives_what_they_do_not_have(site: Site) -> None:
    """Whatever is added to the form."""
    account, visitor = await site.newcomer()
    await visitor.open(await site.push(await site.client()))
    assert "You may not do this yourself" in visitor.text
    added = {"allow-orders:write": "on", "allow-admin:all": "on"}
    await visitor.send("/oauth/authorize", decision="allow", **added)
    assert "code" in answered(visitor)
    (grant,) = await site.services.flows.grants.list_of_account(account.id)
    assert grant.scope == ("orders:read",)


async def test_to_allow_nothing_asks_again(site: Site) -> None:
    """The request is still there."""
    _, visitor = await site.newcomer()
    await visitor.open(await site.push(await site.client(), scope="orders:read"))
    await visitor.send("/oauth/authorize", decision="allow", **{"allow-orders:read": None})
    assert (visitor.page.status, "Choose at least one" in visitor.text) == (400, True)
    await visitor.send("/oauth/authorize", decision="maybe")
    assert visitor.page.status == 400
    await visitor.open(await site.push(await site.client(), scope="orders:read"))
    await visitor.send("/oauth/authorize", decision="allow")
    assert "code" in answered(visitor)


async def test_live_is_unmistakable(site: Site) -> None:
    """Nobody takes real markets for practice."""
    _, visitor = await site.newcomer()
    await visitor.open(await site.push(await site.client(environment="live"), scope="orders:read"))
    assert "<strong>LIVE</strong>" in visitor.text
    assert "PAPER" not in visitor.text


CHANGED = (
    ("client_id=", "client_id=x"),
    ("request_uri=urn", "request_uri=https"),
    ("&request_uri", "&other"),
    ("?", "?a=1&a=2&"),
)


async def test_an_unknown_request_is_told_here_and_redirects_nowhere(site: Site) -> None:
    """Whatever redirect URI comes along."""
    _, visitor = await site.newcomer()
    address = await site.push(await site.client())
    for change in CHANGED:
        await visitor.open(address.replace(*change) + "&redirect_uri=https%3A%2F%2Fevil.example")
        assert visitor.page.status == 400
        assert visitor.page.header("location") is None
        assert "evil" not in visitor.text


async def test_another_clients_request_is_no_request(site: Site) -> None:
    """Nobody reads a request under another name than its own."""
    _, visitor = await site.newcomer()
    one, other = await site.client(), await site.client(name="Other")
    address = (await site.push(one)).replace(one.id, other.id)
    assert (await visitor.open(address)).status == 400


async def test_the_page_lets_its_form_lead_to_the_client_alone(site: Site) -> None:
    """Browsers hold `form-action` for the redirect, too."""
    _, visitor = await site.newcomer()
    await visitor.open(await site.push(await site.client()))
    assert (
        visitor.page.header("content-security-policy")
        == guarding.headers(REDIRECT)["content-security-policy"]
    )


async def test_trading_is_allowed_only_by_somebody_who_was_here_a_moment_ago(site: Site) -> None:
    """A browser that was left open does not hand on what moves money."""
    _, visitor, device = await site.trader()
    address = await site.push(await site.client())
    await visitor.open(address)
    site.clock.advance(STEP_UP_MS)
    await visitor.send("/oauth/authorize", decision="allow")
    assert visitor.location.startswith("/oauth/confirm?to=authorize&")
    await visitor.follow()
    await visitor.send("/oauth/confirm", password=PASSWORD, code=device.code())
    assert visitor.location == address.replace(":", "%3A")
    await visitor.follow()
    await visitor.send("/oauth/authorize", decision="allow")
    assert "code" in answered(visitor)


async def test_to_see_needs_no_new_confirmation(site: Site) -> None:
    """What moves nothing is as open as the session is."""
    _, visitor = await site.newcomer()
    site.clock.advance(STEP_UP_MS)
    await visitor.open(await site.push(await site.client(), scope="orders:read"))
    assert visitor.page.status == 200


async def test_a_client_can_ask_for_a_fresh_sign_in(site: Site) -> None:
    """Once it was done since the client asked, it is done."""
    _, visitor = await site.newcomer()
    client = await site.client()
    asked: tuple[dict[str, str], ...] = ({"max_age": "0"}, {"max_age": "60"}, {"prompt": "login"})
    for each in asked:
        site.clock.advance(61_000)
        await visitor.open(await site.push(client, scope="orders:read", **each))
        assert visitor.location.startswith("/oauth/confirm?to=authorize&"), each
        await visitor.follow()
        await visitor.send("/oauth/confirm", password=PASSWORD)
        assert (await visitor.follow()).status == 200
        site.clock.advance(61_000)
        await visitor.send("/oauth/authorize", decision="allow")
        assert "code" in answered(visitor)


async def test_a_client_that_wants_nobody_asked_is_told_so(site: Site) -> None:
    """A person is always asked here: signed in or not, there is no code without them."""
    client = await site.client()
    _, person = await site.newcomer()
    for visitor, error in ((site.visitor(), "login_required"), (person, "consent_required")):
        await visitor.open(await site.push(client, scope="orders:read", prompt="none"))
        assert answered(visitor)["error"] == error


async def test_somebody_else_can_sign_in_instead(site: Site) -> None:
    """And is asked the same."""
    _, visitor = await site.newcomer()
    address = await site.push(await site.client(), scope="orders:read")
    await visitor.open(address)
    await visitor.send("/oauth/sign-out")
    assert visitor.location.startswith("/oauth/sign-in?to=authorize&client_id=")
    await visitor.follow()
    await visitor.send("/oauth/sign-in", email="ann@acme.example", password=PASSWORD)
    assert visitor.location == address.replace(":", "%3A")


async def test_a_request_that_has_ended_is_told_before_anybody_signs_in_for_it(site: Site) -> None:
    """Nobody types a password for nothing."""
    address = await site.push(await site.client())
    visitor = site.visitor()
    await visitor.open(address)
    site.clock.advance(700_000)
    await visitor.follow()
    assert (visitor.page.status, "nothing to answer" in visitor.text) == (400, True)
