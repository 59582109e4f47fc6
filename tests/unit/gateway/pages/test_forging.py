"""That a form came from a page of ours, shown in the same browser."""

import pytest

from gateway.pages import forging

OWN = "https://gateway.test"
COOKIE, OTHER = "a" * 43, "b" * 43


def test_a_form_with_the_key_of_its_browser_passes() -> None:
    """The key is of the cookie, and does not tell it."""
    key = forging.form_key(COOKIE)
    forging.require_own_form(key, key)
    assert COOKIE not in key


@pytest.mark.parametrize("presented", [None, "", "x", forging.form_key(OTHER), COOKIE, "é"])
def test_a_form_without_its_key_is_refused(presented: str | None) -> None:
    """Another browser's key is as good as none, and so is the cookie itself."""
    with pytest.raises(forging.ForgedForm):
        forging.require_own_form(forging.form_key(COOKIE), presented)


def test_a_browser_without_a_cookie_has_no_form() -> None:
    """Two absent values are not two equal ones."""
    with pytest.raises(forging.ForgedForm):
        forging.require_own_form(None, None)
    with pytest.raises(forging.ForgedForm):
        forging.require_own_form("", "")


@pytest.mark.parametrize(
    ("site", "origin"), [("same-origin", OWN), ("same-origin", "null"), ("same-origin", None), (None, OWN)]
)
def test_a_form_sent_from_here_passes(site: str | None, origin: str | None) -> None:
    """Pages that tell no referrer are of no origin: then the browser's word on the site counts."""
    forging.require_own_origin(site, origin, OWN)


@pytest.mark.parametrize(
    ("site", "origin"),
    [
        ("cross-site", "https://evil.example"),
        ("same-site", "https://other.gateway.test"),
        ("same-origin", "https://evil.example"),
        ("cross-site", "null"),
        ("none", None),
        (None, "null"),
        (None, None),
        (None, "https://gateway.test.evil.example"),
        (None, "http://gateway.test"),
    ],
)
def test_a_form_sent_from_elsewhere_is_refused(site: str | None, origin: str | None) -> None:
    """Neither header may speak against it, and one has to speak for it."""
    with pytest.raises(forging.ForgedForm):
        forging.require_own_origin(site, origin, OWN)
