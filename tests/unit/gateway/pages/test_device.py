"""A device's code, typed by its person."""

from __future__ import annotations

from tests.support.page_site import Site
from tests.support.page_visits import Visitor


async def waiting(site: Site, scope: str = "orders:read") -> str:
    client = await site.client()
    begun = await site.services.flows.devices.begin(client, {"scope": scope}, None)
    return begun.user_code


async def typed(visitor: Visitor, code: str) -> None:
    await visitor.open("/oauth/device")
    await visitor.send("/oauth/device", user_code=code)


async def test_a_code_is_typed_and_decided_by_somebody_who_signed_in(site: Site) -> None:
    """The page says whose device asks, and for what."""
    code = await waiting(site)
    stranger = site.visitor()
    await stranger.open(f"/oauth/device?user_code={code}")
    assert stranger.location == f"/oauth/sign-in?to=device&user_code={code}"
    account, visitor = await site.newcomer()
    await typed(visitor, code.lower().replace("-", " "))
    assert "Order Desk" in visitor.text
    assert "If you did not start this" in visitor.text
    await visitor.send("/oauth/device/decision", decision="allow")
    assert "Your device is connected" in visitor.text
    (grant,) = await site.services.flows.grants.list_of_account(account.id)
    assert grant.scope == ("orders:read",)
    await typed(visitor, code)
    assert (visitor.page.status, "No device waits" in visitor.text) == (400, True)


async def test_a_link_with_a_code_only_fills_the_field(site: Site) -> None:
    """Somebody else may have sent it: nothing is looked up, and nothing decided."""
    code = await waiting(site)
    _, visitor = await site.newcomer()
    await visitor.open(f"/oauth/device?user_code={code}")
    assert f'value="{code}"' in visitor.text
    assert "Order Desk" not in visitor.text


async def test_a_refusal_is_told_the_device(site: Site) -> None:
    """And gives nothing."""
    code = await waiting(site)
    account, visitor = await site.newcomer()
    await typed(visitor, code)
    await visitor.send("/oauth/device/decision", decision="deny")
    assert "Refused" in visitor.text
    assert await site.services.flows.grants.list_of_account(account.id) == ()


async def test_trading_takes_a_recent_confirmation(site: Site) -> None:
    """As at any other app."""
    code = await waiting(site, "orders:write")
    _, visitor, _ = await site.trader()
    await typed(visitor, code)
    site.clock.advance(300_000)
    await visitor.send("/oauth/device/decision", decision="allow")
    assert visitor.location.startswith("/oauth/confirm?to=device&user_code=")


async def test_an_unknown_code_is_told(site: Site) -> None:
    """It can be typed again, and stands in the page as text."""
    _, visitor = await site.newcomer()
    for code in ("", "XXXX-XXXX", "<script>", "a" * 200):
        await typed(visitor, code)
        assert (visitor.page.status, "No device waits" in visitor.text) == (400, True)
        assert "<script>" not in visitor.text


async def test_guessing_codes_is_slowed_down(site: Site) -> None:
    """By account: another one is not in its way."""
    _, visitor = await site.newcomer()
    for _ in range(11):
        await typed(visitor, "XXXX-XXXX")
    assert visitor.page.status == 429
    assert int(visitor.page.header("retry-after") or 0) > 0
    _, other = await site.newcomer("bob@acme.example", name="Bob")
    await typed(other, "XXXX-XXXX")
    assert other.page.status == 400
