"""Forms are read in one way or not at all."""

import pytest

from auth.oauth.errors import OAuthError
from gateway import forms

FORM = "application/x-www-form-urlencoded"


def test_13_a_form_is_read() -> None:
    """Percent escapes, plus for a space, UTF-8; an empty value is as good as none."""
    body = b"grant_type=client_credentials&scope=a%3Ab+c&name=%C3%A9&empty="
    assert forms.parse(body) == {"grant_type": "client_credentials", "scope": "a:b c", "name": "é"}
    assert forms.parse(b"") == {}


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=1",
        b"a=1&%61=2",
        b"a=&a=1",
        b"a=1&b",
        b"=1",
        b"&",
        b"a=1&",
        b"a=%zz",
        b"a=%",
        b"a=%4",
        b"a=%ff",
        b"a=%C3",
        "a=é".encode(),
        b"a=%00",
        b"a=%0d%0a",
        b"a=\n",
        b"a=%ED%A0%80",
        b"&".join(b"p%d=1" % number for number in range(65)),
    ],
)
def test_13_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    """Repeated parameters, however spelt, broken escapes, bytes that are no UTF-8, controls, and a flood of them."""
    with pytest.raises(OAuthError) as refused:
        forms.parse(body)
    assert refused.value.error == "invalid_request"


def test_13_an_oversized_form_is_refused_unread() -> None:
    """With the status that says so."""
    forms.parse(b"a=" + b"x" * (forms.LARGEST - 2))
    with pytest.raises(OAuthError) as refused:
        forms.parse(b"a=" + b"x" * (forms.LARGEST - 1))
    assert refused.value.status == 413


def test_13_parameters_in_the_query_are_refused() -> None:
    """Addresses end in logs and in histories."""
    forms.require_form(FORM, None, b"")
    with pytest.raises(OAuthError) as refused:
        forms.require_form(FORM, None, b"grant_type=client_credentials")
    assert refused.value.error == "invalid_request"


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        (None, None),
        ("application/json", None),
        ("multipart/form-data; boundary=x", None),
        (FORM + "; charset=latin-1", None),
        (FORM + ", text/plain", None),
        (FORM, "gzip"),
    ],
)
def test_another_content_type_is_refused(content_type: str | None, encoding: str | None) -> None:
    """And an encoded one."""
    with pytest.raises(OAuthError) as refused:
        forms.require_form(content_type, encoding, b"")
    assert refused.value.status == 415


@pytest.mark.parametrize(
    "content_type", [FORM, FORM + ";charset=UTF-8", FORM + '; charset="utf-8"', FORM.upper()]
)
def test_a_form_says_what_it_is(content_type: str) -> None:
    """With or without its charset."""
    forms.require_form(content_type, None, b"")
