"""Somebody's own account: what they see, and what they change."""

from __future__ import annotations

from auth.people import passkey_rows
from gateway.pages import cookies
from tests.support.control_node import AUTHOR
from tests.support.page_site import PASSWORD, Site
from tests.support.page_visits import Visitor

NEW = "a quiet evening by the lake"
SENSITIVE = ("password", "one-time-codes", "passkeys", "recovery-codes")


async def signed_in(site: Site, email: str = "ann@acme.example") -> Visitor:
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    await visitor.send("/oauth/sign-in", email=email, password=PASSWORD)
    return visitor


async def test_it_shows_where_somebody_is_signed_in(site: Site) -> None:
    """And lets them end what they do not know."""
    _, visitor = await site.newcomer()
    other = await signed_in(site)
    await visitor.open("/oauth/account")
    assert visitor.text.count("This browser") == 1
    assert visitor.text.count("Another browser") == 1
    await visitor.send("/oauth/account/sessions/end")
    assert visitor.location == "/oauth/account"
    assert (await other.open("/oauth/account")).status == 303
    assert (await visitor.open("/oauth/account")).status == 200


async def test_to_sign_out_everywhere_ends_every_session(site: Site) -> None:
    """The one that asks for it, too."""
    _, visitor = await site.newcomer()
    other = await signed_in(site)
    await visitor.open("/oauth/account")
    await visitor.send("/oauth/account/sign-out-everywhere")
    assert visitor.location == "/oauth/sign-in"
    assert cookies.SESSION not in visitor.cookies
    assert (await other.open("/oauth/account")).status == 303


async def test_what_an_app_may_do_is_withdrawn(site: Site) -> None:
    """It is listed with what it is, and gone afterwards."""
    account, visitor = await site.newcomer()
    await visitor.open(await site.push(await site.client(), scope="orders:read"))
    await visitor.send("/oauth/authorize", decision="allow")
    await visitor.open("/oauth/account")
    assert "Order Desk" in visitor.text
    assert "orders:read" in visitor.text
    await visitor.send("/oauth/account/apps/withdraw")
    await visitor.follow()
    assert "No app acts in your name" in visitor.text
    assert await site.services.flows.grants.list_of_account(account.id) == ()


async def test_nobody_withdraws_what_somebody_else_allowed(site: Site) -> None:
    """A grant is looked for among one's own."""
    account, ann = await site.newcomer()
    await ann.open(await site.push(await site.client(), scope="orders:read"))
    await ann.send("/oauth/authorize", decision="allow")
    (grant,) = await site.services.flows.grants.list_of_account(account.id)
    _, bob = await site.newcomer("bob@acme.example", name="Bob")
    await bob.open("/oauth/account")
    key = bob.fields("/oauth/account/sign-out-everywhere")["form_key"]
    await bob.send_raw("/oauth/account/apps/withdraw", {"form_key": key, "grant": grant.id})
    assert bob.page.status == 404
    assert await site.services.flows.grants.list_of_account(account.id) == (grant,)


async def test_what_changes_how_somebody_signs_in_takes_a_recent_confirmation(site: Site) -> None:
    """And leads back to where they were going."""
    _, visitor = await site.newcomer()
    for page in SENSITIVE:
        assert (await visitor.open(f"/oauth/account/{page}")).status == 200
        site.clock.advance(300_000)
        await visitor.open(f"/oauth/account/{page}")
        assert visitor.location == f"/oauth/confirm?to={page}"
        await visitor.follow()
        await visitor.send("/oauth/confirm", password=PASSWORD)
        assert visitor.location == f"/oauth/account/{page}"
        assert (await visitor.follow()).status == 200


async def test_a_wrong_confirmation_confirms_nothing(site: Site) -> None:
    """The page says so, and asks again."""
    _, visitor = await site.newcomer()
    site.clock.advance(300_000)
    await visitor.open("/oauth/confirm?to=password")
    await visitor.send("/oauth/confirm", password="not the password")
    assert visitor.page.status == 403
    assert (await visitor.open("/oauth/account/password")).status == 303


async def test_a_form_that_was_left_open_is_not_enough(site: Site) -> None:
    """The confirmation is asked when the form comes, and not only when it is shown."""
    _, visitor = await site.newcomer()
    await visitor.open("/oauth/account/password")
    site.clock.advance(300_000)
    await visitor.send("/oauth/account/password", current=PASSWORD, password=NEW, again=NEW)
    assert visitor.location == "/oauth/confirm?to=password"


async def test_a_new_password_ends_the_other_sessions(site: Site) -> None:
    """The one that changed it goes on, under another value."""
    _, visitor = await site.newcomer()
    other, before = await signed_in(site), visitor.cookies[cookies.SESSION]
    await visitor.open("/oauth/account/password")
    await visitor.send("/oauth/account/password", current=PASSWORD, password="short", again="short")
    assert (visitor.page.status, "12 to" in visitor.text) == (400, True)
    await visitor.send("/oauth/account/password", current=PASSWORD, password=NEW, again=NEW)
    assert visitor.location == "/oauth/account"
    assert visitor.cookies[cookies.SESSION] != before
    assert (await visitor.follow()).status == 200
    assert (await other.open("/oauth/account")).status == 303


async def test_the_last_second_factor_of_a_trader_stays(site: Site) -> None:
    """Their role asks for one."""
    account, visitor, _ = await site.trader()
    await visitor.open("/oauth/account/one-time-codes")
    await visitor.send("/oauth/account/one-time-codes/remove")
    assert (visitor.page.status, "second factor" in visitor.text) == (400, True)
    assert (await site.services.people.accounts.get(account.id)).has_totp


async def test_whose_second_factor_is_a_passkey_confirms_by_it(site: Site) -> None:
    """A password alone would be less than what they signed in with."""
    account, visitor, _ = await site.trader()
    async with site.changes.begin(AUTHOR) as change:
        await passkey_rows.insert(
            change, "key-1", account.id, public_key=b"k", sign_count=0, label="Key", backed_up=False
        )
        await change.record("account.passkey_added", account.id)
    await visitor.open("/oauth/account/one-time-codes")
    await visitor.send("/oauth/account/one-time-codes/remove")
    assert visitor.location == "/oauth/account"
    site.clock.advance(300_000)
    await visitor.open("/oauth/confirm?to=password")
    assert 'name="password"' not in visitor.text
    key = visitor.fields("/oauth/confirm/passkey")
    await visitor.send_raw("/oauth/confirm", {**key, "password": PASSWORD})
    assert visitor.page.status == 403
    assert (await visitor.open("/oauth/account/password")).status == 303


async def test_new_recovery_codes_are_shown_once(site: Site) -> None:
    """In the answer to a form, which no address leads back to."""
    _, visitor, _ = await site.trader()
    await visitor.open("/oauth/account/recovery-codes")
    await visitor.send("/oauth/account/recovery-codes")
    assert visitor.text.count("<code>") >= 10
    await visitor.open("/oauth/account/recovery-codes")
    assert 'id="recovery-codes"' not in visitor.text


async def test_whoever_has_no_second_factor_needs_no_recovery_codes(site: Site) -> None:
    """The page says what they would be for."""
    _, visitor = await site.newcomer()
    await visitor.open("/oauth/account/recovery-codes")
    assert "stand in for an authenticator app" in visitor.text
