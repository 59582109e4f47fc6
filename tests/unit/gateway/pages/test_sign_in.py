"""Signing in at the pages: as a browser does it, over a socket."""

from __future__ import annotations

import pytest

from gateway.pages import cookies
from tests.support.page_site import PASSWORD, Site, enrol

EMAIL = "ann@acme.example"


async def test_somebody_invited_chooses_a_password_and_is_in(site: Site) -> None:
    """To look at the invitation uses nothing up; to answer it does."""
    account, ticket = await site.invite()
    visitor = site.visitor()
    for _ in range(2):
        await visitor.open(f"/oauth/invitation?ticket={ticket}")
        assert "Hello Ann" in visitor.text
    await visitor.send("/oauth/invitation", password=PASSWORD, again=PASSWORD)
    assert visitor.location == "/oauth/account"
    await visitor.follow()
    assert "Your account" in visitor.text
    assert (await site.services.people.accounts.get(account.id)).state == "active"
    await visitor.open(f"/oauth/invitation?ticket={ticket}")
    assert visitor.page.status == 403
    assert ticket not in visitor.text


async def test_an_invitation_ends_the_session_that_the_browser_had(site: Site) -> None:
    """Whosever it was: nobody has its cookie any more, but for whoever copied it."""
    _, visitor = await site.newcomer("eve@acme.example", name="Eve")
    before = visitor.cookies[cookies.SESSION]
    _, ticket = await site.invite()
    await visitor.open(f"/oauth/invitation?ticket={ticket}")
    await visitor.send("/oauth/invitation", password=PASSWORD, again=PASSWORD)
    assert (await visitor.follow()).status == 200
    copied = site.visitor()
    copied.cookies[cookies.SESSION] = before
    assert (await copied.open("/oauth/account")).status == 303


async def test_a_password_ends_the_session_that_the_browser_had(site: Site) -> None:
    """Somebody half signed in gave up, and somebody else sat down."""
    await site.newcomer()
    _, visitor = await site.newcomer("tom@acme.example", roles=("trader",), name="Tom")
    before = visitor.cookies[cookies.SESSION]
    assert await site.services.people.sessions.find(before) is not None
    await visitor.open("/oauth/sign-in")
    await visitor.send("/oauth/sign-in", email=EMAIL, password=PASSWORD)
    assert visitor.location == "/oauth/account"
    assert await site.services.people.sessions.find(before) is None


async def test_a_password_signs_in(site: Site) -> None:
    """With a session of its own, in a cookie that only this host sees."""
    await site.newcomer()
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    assert visitor.cookies.keys() == {cookies.FORMS}
    await visitor.send("/oauth/sign-in", email="Ann@Acme.example ", password=PASSWORD)
    assert visitor.location == "/oauth/account"
    first = visitor.cookies[cookies.SESSION]
    await visitor.follow()
    assert visitor.page.status == 200
    await visitor.send("/oauth/sign-out")
    assert cookies.SESSION not in visitor.cookies
    visitor.cookies[cookies.SESSION] = first
    assert (await visitor.open("/oauth/account")).status == 303, "the session ended, and not only its cookie"


@pytest.mark.parametrize(
    ("email", "password"), [(EMAIL, "wrong password here"), ("bob@acme.example", PASSWORD)]
)
async def test_a_wrong_password_and_nobody_are_told_alike(site: Site, email: str, password: str) -> None:
    """The page keeps the address and forgets the password."""
    await site.newcomer()
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    await visitor.send("/oauth/sign-in", email=email, password=password)
    assert visitor.page.status == 403
    assert "do not sign anybody in" in visitor.text
    assert f'value="{email}"' in visitor.text
    assert password not in visitor.text
    assert cookies.SESSION not in visitor.cookies


async def test_a_session_is_another_one_after_every_proof(site: Site) -> None:
    """A value that somebody was given beforehand never becomes a signed-in one."""
    _, _, device = await site.trader()
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    await visitor.send("/oauth/sign-in", email="tom@acme.example", password=PASSWORD)
    half = visitor.cookies[cookies.SESSION]
    assert visitor.location == "/oauth/sign-in/second?to=account"
    await visitor.follow()
    await visitor.send("/oauth/sign-in/code", code=device.code())
    assert visitor.location == "/oauth/account"
    assert visitor.cookies[cookies.SESSION] != half
    visitor.cookies[cookies.SESSION] = half
    assert (await visitor.open("/oauth/account")).status == 303


async def test_half_a_sign_in_opens_no_page(site: Site) -> None:
    """A password alone is not enough for whoever has more."""
    await site.trader()
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    await visitor.send("/oauth/sign-in", email="tom@acme.example", password=PASSWORD)
    for path in ("/oauth/account", "/oauth/account/password", "/oauth/device", "/oauth/enrol"):
        await visitor.open(path)
        assert visitor.location.startswith("/oauth/sign-in?to="), path


async def test_a_wrong_code_is_told_and_a_right_one_counts_once(site: Site) -> None:
    """Whoever reads a code over a shoulder comes too late."""
    _, _, device = await site.trader()
    visitor, other, code = site.visitor(), site.visitor(), ""
    for each in (visitor, other):
        await each.open("/oauth/sign-in")
        await each.send("/oauth/sign-in", email="tom@acme.example", password=PASSWORD)
        await each.follow()
    await visitor.send("/oauth/sign-in/code", code="000000")
    assert (visitor.page.status, "not the code" in visitor.text) == (403, True)
    code = device.code()
    await visitor.send("/oauth/sign-in/code", code=code)
    assert visitor.location == "/oauth/account"
    await other.send("/oauth/sign-in/code", code=code)
    assert other.page.status == 403


async def test_a_recovery_code_stands_in_once(site: Site) -> None:
    """For whoever lost the rest."""
    _, newcomer = await site.newcomer("tom@acme.example", roles=("trader",))
    await newcomer.follow()
    await enrol(site, newcomer)
    listed = newcomer.text.partition('id="recovery-codes"')[2].partition("</ul>")[0]
    code = listed.partition("<code>")[2].partition("<")[0]
    outcomes = []
    for _ in range(2):
        visitor = site.visitor()
        await visitor.open("/oauth/sign-in")
        await visitor.send("/oauth/sign-in", email="tom@acme.example", password=PASSWORD)
        await visitor.follow()
        await visitor.send("/oauth/sign-in/recovery", code=code.upper())
        outcomes.append(visitor.page.status)
    assert outcomes == [303, 403]


async def test_whose_role_asks_for_a_second_factor_sets_one_up_first(site: Site) -> None:
    """Nothing else opens before, and the recovery codes are shown this once."""
    account, visitor = await site.newcomer("tom@acme.example", roles=("trader",))
    assert visitor.location == "/oauth/enrol?to=account"
    await visitor.open("/oauth/account")
    assert visitor.location.startswith("/oauth/sign-in")
    await visitor.open("/oauth/enrol")
    await visitor.send("/oauth/enrol/one-time-codes")
    assert 'src="data:image/svg+xml;base64,' in visitor.text
    await visitor.send("/oauth/enrol/one-time-codes/confirm", code="000000")
    assert visitor.page.status == 403
    await visitor.open("/oauth/enrol")
    await enrol(site, visitor)
    await visitor.open("/oauth/account/recovery-codes")
    assert 'id="recovery-codes"' not in visitor.text
    assert (await site.services.people.accounts.get(account.id)).has_totp


async def test_guessing_is_slowed_down(site: Site) -> None:
    """Six digits stand few guesses; the answer says when to come back."""
    await site.trader()
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    await visitor.send("/oauth/sign-in", email="tom@acme.example", password=PASSWORD)
    await visitor.follow()
    seen = [(await visitor.send("/oauth/sign-in/code", code="000000")).status for _ in range(6)]
    assert (seen[0], seen[-1]) == (403, 429)
    assert int(visitor.page.header("retry-after") or 0) > 0


async def test_a_reset_by_mail_ends_what_was_before(site: Site) -> None:
    """Whoever asks is answered alike; the link works once."""
    account, before = await site.newcomer()
    visitor = site.visitor()
    answers = []
    for email in (EMAIL, "nobody@acme.example"):
        await visitor.open("/oauth/reset")
        await visitor.send("/oauth/reset/request", email=email)
        answers.append((visitor.page.status, visitor.text.partition("<main")[2].partition("</main>")[0]))
    assert answers[0] == answers[1]
    ticket = await site.reset_ticket()
    await visitor.open(f"/oauth/reset?ticket={ticket}")
    await visitor.send("/oauth/reset", password="another long password", again="another long passwore")
    assert (visitor.page.status, "not the same" in visitor.text) == (400, True)
    await visitor.send("/oauth/reset", password="another long password", again="another long password")
    assert visitor.page.status == 200
    assert (await before.open("/oauth/account")).status == 303
    await visitor.open(f"/oauth/reset?ticket={ticket}")
    assert visitor.page.status == 403
    await visitor.open("/oauth/sign-in")
    await visitor.send("/oauth/sign-in", email=EMAIL, password="another long password")
    assert visitor.location == "/oauth/account"
    assert (await site.services.people.accounts.get(account.id)).has_password


async def test_the_log_names_nobody(site: Site) -> None:
    """Neither an address nor anything typed, whatever went wrong."""
    await site.newcomer()
    visitor = site.visitor()
    lines = site.watch_log()
    await visitor.open("/oauth/sign-in?to=account")
    await visitor.send("/oauth/sign-in", email=EMAIL, password="wrong password here")
    await visitor.send("/oauth/sign-in", email=EMAIL, password=PASSWORD)
    await visitor.follow()
    told = repr(lines)
    assert "sign_in_refused" in told
    for secret in (EMAIL, PASSWORD, "wrong password", "to=account", *visitor.cookies.values()):
        assert secret not in told
