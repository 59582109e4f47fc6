"""What templates make of values, hostile ones too."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from gateway.pages import consent, ways
from gateway.pages.assets import Assets
from gateway.pages.rendering import Templates, duration, moment, monogram, plain
from keys.client_records import About
from policies import document
from tests.support.oauth_people import make_client as served_client

TEMPLATES = Templates(Assets())
PERSON = SimpleNamespace(name="<b>Ann</b>", email="ann@acme.example", partner="acme", roles=("trader",))
KEY = "k" * 64
SHARED = {"form_key": KEY, "person": PERSON, "request_id": "r1"}
POLICIES = document.parse(b'[permissions."orders:read"]\ndescription = "See <orders>"\n', "policies")


def page(name: str, about: About | None = None, environment: str = "paper") -> str:
    client = served_client(name=name, about=about or About(), environment=environment)
    asked = frozenset({"orders:read"})
    shown = consent.compose(client, asked, asked, POLICIES, 2_592_000_000)
    values: dict[str, Any] = {
        "consent": shown,
        "action": "/oauth/authorize",
        "carried": (("client_id", client.id),),
        "way": ways.ACCOUNT,
        "user_code": "",
        "told": "",
    }
    return TEMPLATES.render("consent.html", SHARED | values).decode()


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ form_key }}", "</title><script>x"],
)
def test_a_clients_name_is_text_wherever_it_stands(name: str) -> None:
    """Whoever registers a client writes into a page that others trust."""
    shown = page(name)
    assert "<script>" not in shown
    assert "<img src=x" not in shown
    assert shown.count(KEY) == page("Order Desk").count(KEY)


def test_a_permissions_description_is_text() -> None:
    """Policies are written by people, too."""
    assert "See &lt;orders&gt;" in page("Order Desk")


def test_text_cannot_turn_its_surroundings_around() -> None:
    """A right-to-left override would write the name backwards, and whatever follows."""
    assert plain("a\u202eb\u200bc\nd") == "a�b�c�d"
    assert "\u202e" not in page("Desk\u202eevil")


def test_the_environment_is_said_in_words() -> None:
    """A colour alone is no warning."""
    assert "<strong>LIVE</strong>" in page("Desk", environment="live")
    assert "<strong>PAPER</strong>" in page("Desk")


def test_links_lead_out_without_a_way_back() -> None:
    """What opens does not see where it was opened from."""
    shown = page("Desk", About(client_uri="https://app.example/"))
    assert 'href="https://app.example/" target="_blank" rel="noopener noreferrer"' in shown


def test_a_name_without_a_value_is_a_defect() -> None:
    """A page with a gap in it says something else than was meant."""
    with pytest.raises(jinja2.UndefinedError):
        TEMPLATES.render("device.html", SHARED)


@pytest.mark.parametrize("name", TEMPLATES.names())
def test_no_template_holds_script_or_style(name: str) -> None:
    """The policy would stop it in the browser; it does not come that far."""
    text = TEMPLATES._environment.loader.get_source(TEMPLATES._environment, name)[0]  # type: ignore[union-attr]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b|<script(?! src=)", text)


@pytest.mark.parametrize("name", TEMPLATES.names())
def test_every_form_carries_its_key(name: str) -> None:
    """A form without it could not be sent."""
    text = TEMPLATES._environment.loader.get_source(TEMPLATES._environment, name)[0]  # type: ignore[union-attr]
    forms = re.findall(r"<form.*?</form>", text, re.DOTALL)
    assert all("parts.key(form_key)" in form or 'name="form_key"' in form for form in forms)
    assert all('method="post"' in form for form in forms)


def test_times_are_told_in_words() -> None:
    """In one zone for all, and in the largest unit that fits."""
    assert moment(1_763_596_800_000) == "2025-11-20 00:00 UTC"
    assert [duration(each) for each in (2_592_000_000, 3_600_000, 300_000, 1_000, 1)] == [
        "30 days", "1 hour", "5 minutes", "1 second", "1 millisecond",
    ]  # fmt: skip
    assert (monogram("«order desk»"), monogram("—")) == ("O", "?")


def test_assets_are_found_by_their_content_alone(tmp_path: Any) -> None:  # noqa: ANN401  a path
    """An address that is kept for ever names one content for ever."""
    (tmp_path / "pages.css").write_text("a {}")
    before = Assets(tmp_path)
    (tmp_path / "pages.css").write_text("b {}")
    after = Assets(tmp_path)
    names = [each.address("pages.css").removeprefix("/oauth/assets/") for each in (before, after)]
    assert names[0] != names[1]
    assert before.find(names[0]) is not None
    assert after.find(names[0]) is None
    assert after.find("../pages.css") is None
    assert after.find("pages.css") is None
