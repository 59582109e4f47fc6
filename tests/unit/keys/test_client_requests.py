"""What a client may be asked to be: FAPI 2.0, or its weaknesses by their names."""

from typing import Any

import pytest

from keys import client_requests, refusals, requests
from keys import format as key_format
from keys.client_records import About, Certificate
from tests.support import oauth_clients
from tests.support.oauth_clients import DEVICE, SUBJECT_DN, THUMBPRINT

NOW_MS = 1_763_596_800_000
CODE = {"grants": ("authorization_code",), "redirect_uris": ("https://app.acme.example/done",)}
SECRET = {"authentication": "client_secret_basic", "exceptions": ("client-secret",)}
PUBLIC = {**CODE, "authentication": "none", "exceptions": ("public-client",)}
BY_NAME = {"authentication": "tls_client_auth", "certificate": Certificate(subject_dn=SUBJECT_DN)}
SELF_SIGNED = {
    "authentication": "self_signed_tls_client_auth",
    "certificate": Certificate(thumbprints=(THUMBPRINT,)),
}


def check(**fields: Any) -> None:  # noqa: ANN401  whatever a request has
    client_requests.check_client(oauth_clients.request(**fields), NOW_MS)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="private-key"),
        pytest.param({"keys_url": "https://acme.example/jwks.json"}, id="keys-by-url"),
        pytest.param(SECRET, id="secret"),
        pytest.param(
            {**SECRET, "binding": None, "exceptions": ("client-secret", "bearer-tokens")}, id="bearer"
        ),
        pytest.param({"binding": None, "exceptions": ("bearer-tokens",)}, id="bearer-with-a-key"),
        pytest.param(PUBLIC, id="public"),
        pytest.param({**BY_NAME, "binding": "mtls"}, id="by-name"),
        pytest.param({**SELF_SIGNED, "binding": "mtls"}, id="self-signed"),
        pytest.param({**BY_NAME, "certificate": Certificate(san_ip="192.0.2.1")}, id="by-address"),
        pytest.param({"grants": (DEVICE, "refresh_token")}, id="device"),
        pytest.param(CODE, id="code"),
    ],
)
def test_every_way_to_authenticate_has_a_client(fields: dict[str, Any]) -> None:
    """With what it proves itself by, and its weaknesses named."""
    check(**fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"authentication": "client_secret_post"}, "authentication", id="unknown-way"),
        pytest.param({"authentication": "client_secret_basic"}, "exceptions", id="secret-unnamed"),
        pytest.param({"binding": None}, "exceptions", id="bearer-unnamed"),
        pytest.param({**PUBLIC, "exceptions": ()}, "exceptions", id="public-unnamed"),
        pytest.param({"exceptions": ("client-secret",)}, "exceptions", id="needless"),
        pytest.param({"exceptions": ("bearer-tokens",)}, "exceptions", id="needless-bearer"),
        pytest.param({"exceptions": ("everything",)}, "exceptions", id="unknown-exception"),
        pytest.param({"binding": "ip"}, "binding", id="unknown-binding"),
        pytest.param({"public_key": None}, "jwk", id="no-keys"),
        pytest.param(
            {
                "public_key": oauth_clients.encoded_jwk(oauth_clients.private_key()),
                "keys_url": "https://a.example/",
            },
            "jwk",
            id="keys-twice",
        ),
        pytest.param({**SECRET, "keys_url": "https://a.example/"}, "jwk", id="keys-and-a-secret"),
        pytest.param({"keys_url": "http://acme.example/jwks.json"}, "jwks_url", id="keys-in-the-clear"),
        pytest.param({"keys_url": "https://acme.example/#keys"}, "jwks_url", id="keys-with-fragment"),
        pytest.param({"keys_url": "https://u:p@acme.example/"}, "jwks_url", id="keys-with-password"),
        pytest.param({"grants": ()}, "grants", id="no-grant"),
        pytest.param({"grants": ("implicit",)}, "grants", id="implicit"),
        pytest.param({"grants": ("password",)}, "grants", id="password"),
        pytest.param({"grants": ("client_credentials", "refresh_token")}, "grants", id="refresh-of-nothing"),
        pytest.param(
            {**PUBLIC, "grants": (*CODE["grants"], "client_credentials")}, "grants", id="public-alone"
        ),
        pytest.param({"grants": ("authorization_code",)}, "redirect_uris", id="code-to-nowhere"),
        pytest.param({"redirect_uris": CODE["redirect_uris"]}, "redirect_uris", id="redirect-without-code"),
        pytest.param(
            {**CODE, "redirect_uris": tuple(f"https://a.example/{n}" for n in range(17))},
            "redirect_uris",
            id="many",
        ),
        pytest.param(
            {"certificate": Certificate(subject_dn=SUBJECT_DN)}, "certificate", id="needless-certificate"
        ),
        pytest.param({**BY_NAME, "certificate": None}, "certificate", id="no-certificate"),
        pytest.param({**BY_NAME, "certificate": Certificate()}, "certificate", id="no-name"),
        pytest.param(
            {**BY_NAME, "certificate": Certificate(subject_dn=SUBJECT_DN, san_dns="a.example")},
            "certificate",
            id="two-names",
        ),
        pytest.param(
            {**BY_NAME, "certificate": Certificate(thumbprints=(THUMBPRINT,))},
            "certificate",
            id="name-by-thumbprint",
        ),
        pytest.param(
            {**BY_NAME, "certificate": Certificate(san_dns="*.a.example")}, "certificate", id="wildcard"
        ),
        pytest.param(
            {**BY_NAME, "certificate": Certificate(san_ip="192.0.2.001")}, "certificate", id="no-address"
        ),
        pytest.param({**SELF_SIGNED, "certificate": Certificate()}, "certificate", id="no-thumbprint"),
        pytest.param(
            {**SELF_SIGNED, "certificate": Certificate(thumbprints=("00" * 32,))},
            "certificate",
            id="hex-thumbprint",
        ),
        pytest.param(
            {**SELF_SIGNED, "certificate": Certificate(thumbprints=(THUMBPRINT[:-1] + "V",))},
            "certificate",
            id="other-spelling",
        ),
        pytest.param({"about": About(logo_uri="javascript:alert(1)")}, "about", id="script"),
        pytest.param({"about": About(logo_uri="http://acme.example/a.png")}, "about", id="logo-in-the-clear"),
        pytest.param({"about": About(contacts=("nobody",))}, "about", id="no-mail"),
        pytest.param({"name": ""}, "name", id="no-name-to-show"),
        pytest.param({"name": "Acme\u202e"}, "name", id="direction-override"),
        pytest.param({"roles": ()}, "roles", id="no-role"),
        pytest.param({"expires_at": NOW_MS}, "expires_at", id="expired"),
        pytest.param({"cidrs": ("192.0.2.1/24",)}, "cidrs", id="host-bits"),
    ],
)
def test_what_no_client_is_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    """Before anything is stored, and before anybody is asked to agree."""
    with pytest.raises(refusals.InvalidRequest) as refused:
        check(**fields)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.acme.example/done",
        "https://app.acme.example:8443/done?tenant=7",
        "https://app.acme.example",
        "https://192.0.2.7/done",
        "https://[2001:db8::7]/done",
        "http://127.0.0.1/done",
        "http://127.0.0.1:49152/done",
        "http://[::1]/done",
    ],
)
def test_a_redirect_uri_is_one_exact_place(uri: str) -> None:
    """https, or http where it does not leave the machine."""
    check(**CODE | {"redirect_uris": (uri,)})


REFUSED = [
    "http://app.acme.example/done",
    "http://localhost/done",
    "http://127.0.0.1.acme.example/done",
    "http://127.1/done",
    "http://0.0.0.0/done",
    "https://app.acme.example/done#token",
    "https://app.acme.example/#",
    "https://*.acme.example/done",
    "https://app.acme.example/*",
    "https://user@app.acme.example/done",
    "https://user:word@app.acme.example/done",
    "https://@app.acme.example/done",
    "https://app.acme.example@evil.example/",
    "https://app.acme.example\\@evil.example/",
    "https://app.acme.example/../done",
    "https://app.acme.example/%2e%2e/done",
    "https://app.acme.example/a/./done",
    "https://APP.acme.example/done",
    "HTTPS://app.acme.example/done",
    "https://app.acme.example./done",
    "https://app.acme.example:/done",
    "https://app.acme.example:0/done",
    "https://app.acme.example:08443/done",
    "https://app.acme.example:99999/done",
    "https://app.acme.example/a b",
    "https://app.acme.example/\u00e4",
    "https://\u0430pp.acme.example/",
    "https://app.acme.example/%zz",
    "https://app.acme.example/a\nb",
    "https://app.acme.example/[1]",
    "https://[::1",
    "https://[2001:DB8::7]/done",
    "https://[fe80::7%25eth0]/done",
    "https:///done",
    "https:/done",
    "https:done",
    "//app.acme.example/done",
    "/done",
    "",
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "urn:ietf:wg:oauth:2.0:oob",
    "https://app.acme.example/" + "a" * 2_048,
]


@pytest.mark.parametrize("uri", REFUSED)
@pytest.mark.parametrize("terms", [CODE, PUBLIC], ids=["confidential", "public"])
def test_a_redirect_uri_that_could_mean_another_place_is_refused(uri: str, terms: dict[str, Any]) -> None:
    """Whatever a browser would make of it."""
    with pytest.raises(client_requests.InvalidRedirectUri):
        check(**terms | {"redirect_uris": (uri,)})


def test_a_scheme_of_one_s_own_is_for_public_clients() -> None:
    """It is a domain written backwards, and leads somewhere."""
    own = ("com.acme.app:/done",)
    check(**PUBLIC | {"redirect_uris": own})
    with pytest.raises(client_requests.InvalidRedirectUri):
        check(**CODE | {"redirect_uris": own})
    for uri in (
        "acme:/done",
        "com.acme.app:",
        "com.acme.app://",
        "Com.acme.app:/done",
        "com.acme.app:/a#b",
        "com.acme.app://u@x/",
    ):
        with pytest.raises(client_requests.InvalidRedirectUri):
            check(**PUBLIC | {"redirect_uris": (uri,)})


def test_what_passes_is_stored_as_it_stands() -> None:
    """Listed once, and the key in its one form."""
    asked = oauth_clients.request(roles=("trader", "trader"), cidrs=("192.0.2.0/24", "192.0.2.0/24"))
    checked = client_requests.check_client(asked, NOW_MS)
    assert (checked.roles, checked.cidrs) == (("trader",), ("192.0.2.0/24",))
    assert client_requests.check_client(checked, NOW_MS) == checked


def test_a_name_is_no_secret() -> None:
    """What people write is read by many."""
    secret = key_format.mint_client_secret("paper", bytes(key_format.SECRET_ENTROPY))
    with pytest.raises(requests.InvalidName):
        check(name=f"Acme {secret.reveal()}")
