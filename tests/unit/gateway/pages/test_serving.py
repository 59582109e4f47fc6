"""What holds of every page, whatever it does: over a socket, against the whole node."""

from __future__ import annotations

import itertools

from gateway.pages import cookies, guarding
from gateway.pages import table as pages
from tests.support.page_site import ORIGIN, PASSWORD, Site
from tests.support.page_visits import SAME_ORIGIN, Visitor

HEADERS = ("content-security-policy", *guarding.headers())


def require_guarded(visitor: Visitor) -> None:
    page = visitor.page
    assert {name: page.header(name) for name in HEADERS} == guarding.headers(), page
    assert page.header("portreeve-request-id")
    if page.status not in {303, 405}:
        assert page.header("content-type") == "text/html; charset=utf-8"


async def test_every_page_is_guarded_for_strangers(site: Site) -> None:
    """Shown, refused or sent elsewhere: the headers are there."""
    visitor = site.visitor()
    for path in pages.SHOWN:
        await visitor.open(path)
        require_guarded(visitor)
        assert visitor.page.status in {200, 303, 400, 403}, path
        if visitor.page.status == 303:
            assert visitor.location.startswith("/oauth/sign-in?to=")


async def test_every_page_is_guarded_for_people(site: Site) -> None:
    """The pages of somebody's own, too."""
    _, visitor = await site.newcomer()
    for path in pages.SHOWN:
        await visitor.open(path)
        require_guarded(visitor)
        assert visitor.page.status in {200, 303, 400, 403}, path
        assert PASSWORD not in visitor.text


async def test_no_form_is_taken_without_its_key(site: Site) -> None:
    """Nothing in it is looked at before; the page says what to do, and names the request."""
    _, visitor = await site.newcomer()
    for path, key in itertools.product(pages.TAKEN, (None, "0" * 64)):
        fields = {"email": "ann@acme.example"} | ({} if key is None else {"form_key": key})
        await visitor.send_raw(path, fields)
        assert (visitor.page.status, "This form cannot be used" in visitor.text) == (403, True)
        assert (visitor.page.header("portreeve-request-id") or "none") in visitor.text
        require_guarded(visitor)


ELSEWHERE = (
    (("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")),
    (("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")),
    (("Origin", "null"), ("Sec-Fetch-Site", "cross-site")),
    (("Origin", ORIGIN), ("Sec-Fetch-Site", "same-site")),
    (("Origin", "null"),),
    (),
)


async def test_no_form_is_taken_from_elsewhere(site: Site) -> None:
    """Not even with the right key, which a site beside ours could have been told."""
    _, visitor = await site.newcomer()
    for headers in ELSEWHERE:
        await visitor.open("/oauth/account")
        fields = visitor.fields("/oauth/account/sign-out-everywhere")
        await visitor.send_raw("/oauth/account/sign-out-everywhere", fields, headers)
        assert visitor.page.status == 403, headers
        assert (await visitor.open("/oauth/account")).status == 200


async def test_a_browser_that_says_only_its_origin_is_taken(site: Site) -> None:
    """Where there is no `Sec-Fetch-Site` yet."""
    _, visitor = await site.newcomer()
    await visitor.open("/oauth/account")
    fields = visitor.fields("/oauth/account/sign-out-everywhere")
    await visitor.send_raw("/oauth/account/sign-out-everywhere", fields, (("Origin", ORIGIN),))
    assert visitor.location == "/oauth/sign-in"


async def test_a_form_of_one_session_is_of_no_use_in_another(site: Site) -> None:
    """Its key is bound to whoever it was shown to."""
    _, ann = await site.newcomer()
    _, bob = await site.newcomer("bob@acme.example", name="Bob")
    await ann.open("/oauth/account")
    fields = ann.fields("/oauth/account/sign-out-everywhere")
    await bob.send_raw("/oauth/account/sign-out-everywhere", fields)
    assert bob.page.status == 403


async def test_a_form_from_before_the_sign_in_is_of_no_use_after_it(site: Site) -> None:
    """Whoever prepared the browser beforehand knows no key of the session."""
    await site.newcomer()
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    before = visitor.fields("/oauth/sign-in")["form_key"]
    await visitor.send("/oauth/sign-in", email="ann@acme.example", password=PASSWORD)
    await visitor.send_raw("/oauth/account/sign-out-everywhere", {"form_key": before})
    assert visitor.page.status == 403


ASTRAY = (
    "to=https%3A%2F%2Fevil.example",
    "to=%2F%2Fevil.example",
    "to=account&to=device",
    "to=authorize",
    "to=authorize&client_id=%2F%2Fevil.example&request_uri=https%3A%2F%2Fevil.example",
    "to=device&user_code=%0D%0ALocation%3A%20https%3A%2F%2Fevil.example",
)


async def test_no_link_leads_through_here_to_somewhere_else(site: Site) -> None:
    """Signed in or not: a way is a step of ours."""
    _, person = await site.newcomer()
    visitors = (person, site.visitor())
    for visitor, path, query in itertools.product(visitors, ("/oauth/sign-in", "/oauth/confirm"), ASTRAY):
        await visitor.open(f"{path}?{query}")
        assert visitor.page.status == 400, query
        assert "evil" not in visitor.text
        require_guarded(visitor)


async def test_other_words_for_a_way_count_for_nothing(site: Site) -> None:
    """Whatever frameworks elsewhere would follow."""
    _, visitor = await site.newcomer()
    await visitor.open("/oauth/sign-in?next=https%3A%2F%2Fevil.example&return_to=%2F%2Fevil.example")
    assert visitor.location == "/oauth/account"


async def test_head_tells_what_get_would_and_shows_nothing(site: Site) -> None:
    """It is asked by what only wants to know whether there is a page."""
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    length = visitor.page.header("content-length")
    await visitor.open("/oauth/sign-in", method="HEAD")
    assert (visitor.page.status, visitor.page.body) == (200, b"")
    assert visitor.page.header("content-length") == length
    require_guarded(visitor)


async def test_what_changes_something_is_never_a_get(site: Site) -> None:
    """A link, a picture or a prefetch changes nothing."""
    _, visitor = await site.newcomer()
    for path in pages.TAKEN.keys() - pages.SHOWN.keys():
        assert (await visitor.open(path)).status == 405
        assert "GET" not in (visitor.page.header("allow") or "")


async def test_a_form_is_a_form(site: Site) -> None:
    """Other types are refused, and so are fields in the address or twice."""
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    fields = visitor.fields("/oauth/sign-in")
    await visitor.send_raw("/oauth/sign-in?to=account", fields)
    assert visitor.page.status == 400
    wire = {**fields, "email": "a@b.example", "password": "x"}
    plain = (("Content-Type", "text/plain"), *SAME_ORIGIN)
    await visitor._ask("POST", "/oauth/sign-in", list(plain), str(wire).encode())
    assert visitor.page.status == 400
    require_guarded(visitor)


async def test_a_form_that_is_too_large_is_refused_as_a_page(site: Site) -> None:
    """Whatever reads the body."""
    visitor = site.visitor()
    await visitor.send_raw("/oauth/sign-in", {"email": "x" * 100_000})
    assert visitor.page.status == 413
    require_guarded(visitor)


async def test_assets_are_kept_for_ever_and_pages_never(site: Site) -> None:
    """An address names one content; what is in no folder of ours is nowhere."""
    visitor = site.visitor()
    await visitor.open("/oauth/sign-in")
    style = visitor.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    script = visitor.text.partition('<script src="')[2].partition('"')[0]
    for path, kind in ((style, "text/css"), (script, "text/javascript")):
        await visitor.open(path)
        assert visitor.page.status == 200
        assert (visitor.page.header("content-type") or "").startswith(kind)
        assert visitor.page.header("cache-control") == "public, max-age=31536000, immutable"
        assert visitor.page.header("x-content-type-options") == "nosniff"
    for name in ("pages.css", "..%2Fserving.py", "passkeys-0000000000000000.js"):
        assert (await visitor.open(f"/oauth/assets/{name}")).status in {400, 404}


async def test_a_page_of_nothing_sets_no_session(site: Site) -> None:
    """To look at pages writes nothing into the store."""
    visitor = site.visitor()
    for path in ("/oauth/sign-in", "/oauth/reset"):
        await visitor.open(path)
    assert visitor.cookies.keys() == {cookies.FORMS}
