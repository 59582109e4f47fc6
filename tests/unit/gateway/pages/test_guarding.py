"""The headers of pages, and what they let a form lead to."""

import pytest

from gateway.pages import guarding


def policy(form_target: str | None = None) -> dict[str, str]:
    written = guarding.headers(form_target)["content-security-policy"]
    return dict(each.strip().split(" ", 1) for each in written.split(";"))


def test_a_page_loads_nothing_but_our_own_and_stands_in_no_frame() -> None:
    """Neither a script in a client's name nor a page around ours gets anywhere."""
    found = policy()
    assert found["default-src"] == "'none'"
    assert (found["script-src"], found["style-src"]) == ("'self'", "'self'")
    assert (found["base-uri"], found["frame-ancestors"]) == ("'none'", "'none'")
    assert found["form-action"] == "'self'"
    assert "unsafe" not in str(found)


def test_a_page_is_kept_by_no_cache_and_tells_nobody_where_its_reader_was() -> None:
    """What a page shows is its reader's alone."""
    headers = guarding.headers()
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("redirect_uri", "source"),
    [
        ("https://app.example/callback?x=1", "https://app.example"),
        ("https://app.example:8443/callback", "https://app.example:8443"),
        ("http://127.0.0.1:51004/", "http://127.0.0.1:51004"),
        ("http://[::1]:51004/", "http:"),
        ("com.example.app:/callback", "com.example.app:"),
    ],
)
def test_a_consent_form_may_lead_to_its_client(redirect_uri: str, source: str) -> None:
    """Browsers would stop the answer on its way to the client otherwise."""
    assert policy(redirect_uri)["form-action"] == f"'self' {source}"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://app.example;script-src *",
        "https://app.example *",
        "https://",
        "//app.example",
        "https://a:b",
        "x y:",
        "",
    ],
)
def test_no_redirect_uri_writes_into_the_policy(redirect_uri: str) -> None:
    """A host is a host, or there is none."""
    with pytest.raises(guarding.NoOrigin):
        guarding.source_of(redirect_uri)
