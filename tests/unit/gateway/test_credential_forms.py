"""What may be a credential, and under which names it goes."""

from typing import Any

import pytest

from gateway.credentials import entering, forms
from keys.secret import Secret
from keys.upstream_credentials import Form

CANARY = "canary-5f1e"


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "upgrade",
        "content-type",
        "portreeve-identity",
        "portreeve-anything",
        "x-forwarded-for",
        "forwarded",
        "x-request-id",
        "traceparent",
        "X-Api-Key",
        "x_api_key",
        "x-api-key: y\r\nx",
        "",
        "a b",
    ],
)
def test_a_name_that_frames_addresses_or_is_ours_is_refused(name: str) -> None:
    """A credential never takes the place of what the gateway says, nor of what a message is."""
    with pytest.raises(forms.InvalidCredential):
        forms.parse_details("header", {"header": name})


@pytest.mark.parametrize("name", ["x-api-key", "authorization", "apca-api-key-id", "cookie"])
def test_a_name_of_a_brokers_own_is_taken(name: str) -> None:
    """And `Authorization`, which no client's reaches an upstream anyway."""
    assert forms.parse_details("header", {"header": name}).names == (name,)


@pytest.mark.parametrize(
    ("form", "details"),
    [
        ("header", {}),
        ("header", {"header": "x-api-key", "other": "x"}),
        ("basic", {"header": "x-api-key"}),
        ("hmac", {"layout": "other"}),
        ("hmac", {"key_header": "x-a", "signature_header": "x-a"}),
        ("oauth-client", {}),
        ("oauth-client", {"token_endpoint": "http://broker.example/token"}),
        ("oauth-client", {"token_endpoint": "https://broker.example"}),
        ("oauth-client", {"token_endpoint": "https://user:p@broker.example/token"}),
        ("oauth-client", {"token_endpoint": "https://broker.example/token", "scope": "a\nb"}),
        ("header", {"header": "x-api-key", "secret_id": "a b"}),
    ],
)
def test_other_details_are_refused(form: Form, details: dict[str, Any]) -> None:
    """Strictly: a misspelt option is never a missing one."""
    with pytest.raises(forms.InvalidCredential):
        forms.parse_details(form, details)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("header", ""),
        ("header", f"{CANARY}\r\nx: y"),
        ("header", f" {CANARY}"),
        ("header", f"{CANARY}\u20ac"),
        ("header", f'{{"value": ["{CANARY}"]}}'),
        ("header", f'{{"value": "{CANARY}", "more": "x"}}'),
        ("basic", CANARY),
        ("basic", f'{{"username": "{CANARY}"}}'),
        ("basic", f'{{"username": "a:{CANARY}", "password": "p"}}'),
        ("hmac", f'{{"key_id": "k", "secret": "{CANARY}'),
        ("oauth-client", f'["{CANARY}"]'),
    ],
)
def test_other_material_is_refused_without_a_word_of_it(form: Form, text: str) -> None:
    """Nothing that could add a line, and nothing that is not the form's; the error shows none of it."""
    with pytest.raises(forms.InvalidCredential) as refused:
        forms.parse_material(form, Secret(text))
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None


def test_material_has_one_spelling() -> None:
    """As text where there is one member, as an object always."""
    for text in ("key", '{"value": "key"}', '{ "value":"key" }'):
        assert entering.material_for("header", Secret(text)).reveal() == '{"value":"key"}'


def test_what_others_keep_may_hold_more() -> None:
    """A secret in a store of others has members of their own."""
    text = '{"username": "u", "password": "p", "engine": "x"}'
    found = forms.parse_material("basic", Secret(text), strictly=False)
    assert {name: value.reveal() for name, value in found.items()} == {"username": "u", "password": "p"}
    with pytest.raises(forms.InvalidCredential):
        forms.parse_material("basic", Secret(text))
