"""Reading queries and forms: in one way only, or not at all."""

import pytest

from gateway.pages import cookies, fields

FORM = "application/x-www-form-urlencoded"


def test_a_form_is_read_as_browsers_send_it() -> None:
    """Names and values; what was left empty was not sent."""
    found = fields.read_form(FORM, None, b"", b"email=a%40b.example&code=&x+y=%C3%A9")
    assert found == {"email": "a@b.example", "x y": "é"}
    assert fields.get(found, "code") == ""
    assert fields.read_form(FORM + "; charset=UTF-8", None, b"", b"") == {}


@pytest.mark.parametrize("media_type", [None, "text/plain", "multipart/form-data; boundary=x", FORM + "x"])
def test_a_form_of_another_type_is_refused(media_type: str | None) -> None:
    """Text that other sites can send without asking is no form."""
    with pytest.raises(fields.MalformedFields):
        fields.read_form(media_type, None, b"", b"a=b")


def test_a_form_is_sent_in_the_body_alone() -> None:
    """An address stands in logs and histories."""
    with pytest.raises(fields.MalformedFields):
        fields.read_form(FORM, None, b"form_key=1", b"a=b")


@pytest.mark.parametrize(
    "encoded",
    [b"a=1&a=2", b"a=1&a=", b"a", b"a=%FF", b"a=%zz", b"a=\xc3\xa9", b"a=%00", b"a=%0D%0AX", b"a=b&&c=d",
     b"a=" + b"x" * 40_000],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(encoded: bytes) -> None:
    """A field comes once, in UTF-8, without controls and within bounds; the refusal repeats none of it."""
    with pytest.raises(fields.MalformedFields) as refused:
        fields.read_query(encoded)
    assert "x" * 20 not in str(refused.value)


VALUE = cookies.new_value(lambda count: bytes(range(count)))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"{cookies.SESSION}={VALUE}", VALUE),
        (f"a=b; {cookies.SESSION}={VALUE}; c=d", VALUE),
        (f"{cookies.SESSION}={VALUE}; {cookies.SESSION}={VALUE}", None),
        (f"portreeve-session={VALUE}", None),
        (f"{cookies.SESSION}={VALUE}x", None),
        (f"{cookies.SESSION}=", None),
        ("", None),
    ],
)
def test_a_cookie_counts_once_and_whole(header: str, found: str | None) -> None:
    """Which of two was ours cannot be known."""
    assert cookies.find(header, cookies.SESSION) == found


def test_cookies_are_this_hosts_alone() -> None:
    """Over TLS, unread by scripts, and not sent along with other sites' forms."""
    written = cookies.written(cookies.SESSION, VALUE).to_header(header="")
    assert written.startswith(f"__Host-portreeve-session={VALUE};")
    for rule in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert rule in written
    assert "Domain" not in written
    assert "Max-Age=0" in cookies.withdrawn(cookies.SESSION).to_header(header="")
