"""The pages in a real browser: what people do, and what others try to do through them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import chromium as browsers
from tests.support.chromium import App, Authenticator
from tests.support.gateway import Deployment
from tests.support.processes import free_port

PASSWORD = "a long walk to the harbour"
CLIENT = (
    *("--partner", "acme", "--environment", "paper", "--name", "Order Desk", "--role", "viewer"),
    *("--authentication", "none", "--binding", "none", "--redirect-uri", "http://127.0.0.1/callback"),
    *("--exception", "public-client", "--exception", "bearer-tokens"),
    *("--grant", "authorization_code", "--grant", "device_code"),
)
_numbers = itertools.count(1)


class Place:
    """A deployment at `localhost`, which browsers trust as they trust TLS, and a browser of somebody's."""

    def __init__(self, deployment: Deployment, base_url: str, client_id: str, browser: Browser) -> None:
        self.deployment = deployment
        self.base_url = base_url
        self.client_id = client_id
        self.browser = browser
        self.complaints: list[str] = []

    def page(self, **context: Any) -> Page:  # noqa: ANN401  as Playwright takes them
        """A window of a browser of its own: no cookie is shared."""
        page = self.browser.new_context(base_url=self.base_url, **context).new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda said: self._complain(said.type, said.text))
        page.on("pageerror", lambda error: self._complain("error", str(error)))
        return page

    def invite(self, role: str) -> tuple[str, str]:
        """An address, and the link that was mailed to it."""
        number = next(_numbers)
        address = f"person{number}@acme.example"
        named = ("--name", f"Person {number}", "--partner", "acme", "--role", role)
        self.deployment.command("people", "invite", address, *named)
        return address, browsers.newest_link(self.deployment, address, "invitation")

    def newcomer(self, role: str = "viewer", **context: Any) -> tuple[str, Page]:  # noqa: ANN401  see page
        address, link = self.invite(role)
        page = self.page(**context)
        page.goto(link)
        choose(page)
        return address, page

    def app(self) -> App:
        return App(self.base_url, self.client_id, "orders:read")

    def _complain(self, kind: str, text: str) -> None:
        # Refusals are answers like any other here, but a browser says each of them aloud.
        if kind in {"error", "warning"} and "Failed to load resource" not in text:
            self.complaints.append(text)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, str, str]]:
    """With its address, and a client that its node knows."""
    port = free_port()
    base_url = f"http://localhost:{port}"
    changes = {"service": {"issuer": base_url}}
    made = Deployment(tmp_path_factory.mktemp("pages"), changes=changes)
    try:
        made.init().partner("acme")
        client_id = json.loads(made.command("clients", "create", *CLIENT, "--json"))["id"]
        made.serve(port=port)
        yield made, base_url, client_id
    finally:
        made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as found:
        yield found


@pytest.fixture
def place(browser: Browser, deployment: tuple[Deployment, str, str]) -> Iterator[Place]:
    made = Place(*deployment, browser)
    yield made
    for context in browser.contexts:
        context.close()
    assert made.complaints == [], "a page broke a rule of its own"


def choose(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("New password, once more").fill(password)
    page.get_by_role("button", name="Set it").click()


def sign_in(page: Page, address: str, password: str = PASSWORD) -> None:
    page.goto("/oauth/sign-in")
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def enrol_app(page: Page) -> Authenticator:
    page.get_by_role("button", name="Codes from an authenticator app").click()
    picture = page.get_by_role("img", name="The key below")
    assert picture.evaluate("each => each.complete && each.naturalWidth > 0")
    authenticator = Authenticator(page.locator("#totp-key").inner_text())
    page.get_by_label("Code from the app").fill(authenticator.code())
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    return authenticator


def add_key(page: Page) -> None:
    """A security key in the machine, whose holder has put their finger on it."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def expect_account(page: Page) -> None:
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()


def test_invited_then_password_and_code(place: Place) -> None:
    """From the mail to the account, with the second factor that the role asks for; then in again with both."""
    address, page = place.newcomer("trader")
    authenticator = enrol_app(page)
    page.get_by_role("link", name="I have kept them").click()
    expect_account(page)
    page.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(page, address)
    page.get_by_label("Code from your authenticator app").fill("000000")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("not the code")
    page.get_by_label("Code from your authenticator app").fill(authenticator.code())
    page.get_by_role("button", name="Go on").click()
    expect_account(page)


def test_a_passkey_is_made_and_signs_in_alone(place: Place) -> None:
    """Made, named, used without a password, used to confirm, and taken away."""
    _, page = place.newcomer()
    add_key(page)
    page.get_by_role("listitem").filter(has_text="Passkeys").get_by_role("link").click()
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_label("What to call it").fill("Blue key")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Blue key")).to_be_visible()
    page.get_by_label("Name").fill("Green key")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_text("Green key")).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect_account(page)
    page.goto("/oauth/confirm?to=passkeys")
    page.get_by_role("button", name="Use your passkey").click()
    page.get_by_role("button", name="Remove Green key").click()
    expect(page.get_by_text("You have none yet")).to_be_visible()


def test_a_passkey_as_the_second_factor_that_a_role_asks_for(place: Place) -> None:
    """Set up at the first sign-in, and asked after the password from then on."""
    address, link = place.invite("trader")
    page = place.page()
    add_key(page)
    page.goto(link)
    choose(page)
    page.get_by_role("button", name="A passkey").click()
    page.get_by_role("button", name="Make the passkey").click()
    page.get_by_role("link", name="I have kept them").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(page, address)
    page.get_by_role("button", name="Use your passkey").click()
    expect_account(page)


def test_an_app_is_allowed_and_withdrawn(place: Place) -> None:
    """The browser follows the answer to the app, whose access is listed and taken back."""
    app = place.app()
    _, page = place.newcomer()
    page.goto(app.push())
    expect(page.get_by_role("heading", name="Allow Order Desk?")).to_be_visible()
    expect(page.get_by_text("PAPER", exact=True)).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{app.origin}/callback**")
    assert app.told[0].keys() == {"code", "state", "iss"}
    assert app.told[0]["iss"] == place.base_url
    page.goto("/oauth/account")
    page.get_by_role("button", name="Withdraw what Order Desk may do").click()
    expect(page.get_by_text("No app acts in your name")).to_be_visible()
    app.close()


def test_an_app_is_refused_after_signing_in_for_it(place: Place) -> None:
    """The request waits while its person signs in."""
    app = place.app()
    address, _ = place.newcomer()
    page = place.page()
    page.goto(app.push())
    expect(page.get_by_text("Order Desk")).to_be_visible()
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Refuse").click()
    page.wait_for_url(f"{app.origin}/callback**")
    assert app.told[0]["error"] == "access_denied"
    app.close()


def test_a_device_is_connected(place: Place) -> None:
    """Its code is typed, and its request decided as any other."""
    app = place.app()
    begun = app.begin_device()
    _, page = place.newcomer()
    page.goto("/oauth/device")
    page.get_by_label("Code").fill(begun["user_code"].lower())
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("If you did not start this")).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Your device is connected")).to_be_visible()
    app.close()


def test_a_forgotten_password_is_replaced_by_mail(place: Place) -> None:
    """The link works once, and the old password no more."""
    address, before = place.newcomer()
    page = place.page()
    page.goto("/oauth/sign-in")
    page.get_by_role("link", name="You forgot your password?").click()
    page.get_by_label("Email").fill(address)
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", name="Look at your mail")).to_be_visible()
    link = browsers.newest_link(place.deployment, address, "reset")
    page.goto(link)
    choose(page, "a quiet evening by the lake")
    expect(page.get_by_role("heading", name="Your password is set")).to_be_visible()
    before.reload()
    expect(before.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("has been used")
    sign_in(page, address)
    expect(page.get_by_role("alert")).to_contain_text("do not sign anybody in")
    sign_in(page, address, "a quiet evening by the lake")
    expect_account(page)


def test_no_page_stands_in_somebody_elses_frame(place: Place, tmp_path: Path) -> None:
    """What is clicked through a frame that nobody sees."""
    frame = f'<iframe src="{place.base_url}/oauth/sign-in" width="600" height="600"></iframe>'
    with browsers.serving_page(tmp_path, frame) as elsewhere:
        page = place.page()
        page.goto(elsewhere)
        page.wait_for_load_state("networkidle")
        framed = page.frames[1]
        assert framed.url.startswith("chrome-error:")
        assert "Sign in" not in framed.content()
    assert place.complaints
    assert all("frame-ancestors" in each or "X-Frame-Options" in each for each in place.complaints)
    place.complaints.clear()


def test_no_form_of_somebody_elses_does_anything(place: Place, tmp_path: Path) -> None:
    """A page elsewhere sends one in the browser of somebody who is signed in here."""
    _, page = place.newcomer()
    form = f'<form method="post" action="{place.base_url}/oauth/account/sign-out-everywhere"><button>go</button></form>'
    with browsers.serving_page(tmp_path, form) as elsewhere:
        page.goto(elsewhere)
        page.get_by_role("button").click()
        expect(page.get_by_role("heading", name="This form cannot be used")).to_be_visible()
    page.goto("/oauth/account")
    expect_account(page)


def test_the_keyboard_is_enough(place: Place) -> None:
    """From the first field to the answer, without a pointer; the focus is where one begins."""
    app = place.app()
    address, _ = place.newcomer()
    page = place.page()
    page.goto(app.push())
    page.keyboard.type(address)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Allow Order Desk?")).to_be_visible()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "allow":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{app.origin}/callback**")
    assert "code" in app.told[0]
    app.close()


def test_nothing_but_passkeys_needs_a_script(place: Place) -> None:
    """Somebody who lets no page run anything signs in, and sees no button that does nothing."""
    address, _ = place.newcomer()
    page = place.page(java_script_enabled=False)
    sign_in(page, address)
    expect_account(page)
    page.goto("/oauth/account/passkeys")
    expect(page.get_by_text("a browser that runs scripts")).to_be_visible()
    expect(page.get_by_role("button", name="Add a passkey")).to_have_count(0)


UNNAMED = """
() => [...document.querySelectorAll("input:not([type=hidden]), button, a, img, form")].filter((each) =>
  each.tagName === "IMG" ? each.alt === null && !each.hasAttribute("alt")
  : each.tagName === "INPUT" ? !each.labels || each.labels.length === 0
  : each.tagName === "FORM" ? each.method !== "post"
  : !each.textContent.trim()).map((each) => each.outerHTML)
"""


def test_pages_are_readable_on_a_small_screen_in_either_light(place: Place) -> None:
    """Nothing runs over the edge, every field has a name, and text stands out from its ground."""
    _, page = place.newcomer(viewport={"width": 320, "height": 640})
    app = place.app()
    ours = ("/oauth/account", "/oauth/account/password", "/oauth/account/passkeys", "/oauth/device")
    for path in (*ours, app.push(), "/oauth/reset", "/oauth/authorize"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
        assert page.evaluate(UNNAMED) == [], path
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.lang") == "en"
        page.emulate_media(color_scheme="light")
        light = _contrast(page)
        page.emulate_media(color_scheme="dark")
        assert min(light, _contrast(page)) >= 4.5, path
    app.close()


def _contrast(page: Page) -> float:
    """Of the text and its ground, as WCAG 2 measures it."""
    found = page.evaluate(
        "[getComputedStyle(document.body).color,"
        " getComputedStyle(document.querySelector('main')).backgroundColor]"
    )
    lights = sorted(_luminance(each) for each in found)
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(each) / 255 for each in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
