"""Client certificates: what one says, and that only the one which a client registered is taken for it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
import trustme
from cryptography import x509

from auth.oauth import certificates
from auth.oauth.certificates import CertificateMismatch, InvalidCertificate, InvalidName
from keys.client_records import About, Authentication, Certificate
from keys.served_clients import ServedClient
from tests.support.client_certificates import DAY, SUBJECT, every_name, issue

AUTHORITY = trustme.CA()


def client(authentication: Authentication, **registered: Any) -> ServedClient:  # noqa: ANN401  names of `Certificate`
    return ServedClient(
        id="prc_paper_x",
        partner="acme",
        tier="standard",
        environment="paper",
        name="desk",
        authentication=authentication,
        binding="mtls",
        grants=frozenset({"client_credentials"}),
        roles=("trader",),
        permissions=None,
        networks=(),
        redirect_uris=(),
        exceptions=frozenset(),
        keys=(),
        secrets=(),
        keys_url=None,
        certificate=Certificate(**registered) if registered else None,
        about=About(),
        expires_at=None,
        frozen=False,
        revoked=False,
        partner_frozen=False,
        revision=1,
    )


def refusal(shown: bytes | None, wanted: ServedClient) -> str | None:
    """The reason; None if it was taken."""
    try:
        certificates.matches(None if shown is None else certificates.parse(shown), wanted)
    except CertificateMismatch as mismatch:
        return mismatch.reason
    return None


def test_everything_a_certificate_says_is_read() -> None:
    """Thumbprint, subject, the four kinds of names, and when it is valid."""
    shown = issue(AUTHORITY, names=every_name())
    found = certificates.parse(shown.der)
    digest = hashlib.sha256(shown.der).digest()
    assert found.thumbprint == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert found.subject_dn == SUBJECT
    assert (found.san_dns, found.san_uri) == (("Desk7.acme.example",), ("spiffe://acme.example/desk/7",))
    assert (found.san_ip, found.san_email) == (("2001:db8::7",), ("Desk.7@Acme.example",))
    assert not found.self_issued


def test_a_certificate_is_valid_between_its_dates_only() -> None:
    """A connection may outlive the certificate it was opened with."""
    found = certificates.parse(issue(AUTHORITY, begins=-DAY, ends=DAY).der)
    assert found.is_valid_at(found.not_before_ms)
    assert found.is_valid_at(found.not_after_ms)
    assert not found.is_valid_at(found.not_before_ms - 1)
    assert not found.is_valid_at(found.not_after_ms + 1)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x80",
        b"garbage" * 100,
        issue(AUTHORITY).der[:-1],
        issue(AUTHORITY).der + b"\x00",
        bytes(certificates.LONGEST_DER + 1),
        issue(AUTHORITY, names=[x509.DNSName(f"{n}.example") for n in range(300)]).der,
    ],
    ids=map(str, range(7)),
)
def test_what_cannot_be_read_in_full_is_refused(der: bytes) -> None:
    """Nothing is guessed, nothing is unbounded, and the refusal repeats nothing of what came."""
    with pytest.raises(InvalidCertificate) as refused:
        certificates.parse(der)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "registered",
    [
        {"subject_dn": "CN=desk 7,O=Acme,C=GB"},
        {"subject_dn": "CN=desk\\207,O=\\41cme,2.5.4.6=GB"},
        {"subject_dn": "CN=#6465736b2037,O=Acme,C=GB"},
        {"san_dns": "desk7.ACME.example"},
        {"san_uri": "spiffe://acme.example/desk/7"},
        {"san_ip": "2001:0db8:0:0::7"},
        {"san_email": "Desk.7@acme.EXAMPLE"},
    ],
)
def test_the_registered_name_lets_in_however_it_is_spelt(registered: dict[str, str]) -> None:
    """Escapes, numbers for names and leading zeros are spelling; what is compared is what they say."""
    shown = issue(AUTHORITY, names=every_name())
    assert refusal(shown.der, client("tls_client_auth", **registered)) is None


@pytest.mark.parametrize(
    "registered",
    [
        {"subject_dn": "C=GB,O=Acme,CN=desk 7"},
        {"subject_dn": "CN=desk 7,O=acme,C=GB"},
        {"subject_dn": "CN=desk 7,O=Acme"},
        {"subject_dn": "CN=desk 7"},
        {"subject_dn": "CN=desk 7,OU=Acme,C=GB"},
        {"subject_dn": "CN=desk 7,O=Acme,C=GB,"},
        {"subject_dn": ""},
        {"san_dns": "acme.example"},
        {"san_dns": "*.acme.example"},
        {"san_uri": "spiffe://acme.example/desk/7/"},
        {"san_ip": "2001:db8::8"},
        {"san_ip": "no address"},
        {"san_email": "desk.7@acme.example"},
        {"san_email": "spiffe://acme.example/desk/7"},
    ],
)
def test_another_name_lets_nobody_in(registered: dict[str, str]) -> None:
    """Neither a part of it, nor another order, nor a name of another kind."""
    shown = issue(AUTHORITY, names=every_name())
    assert refusal(shown.der, client("tls_client_auth", **registered)) == "another-name"


def test_attributes_of_one_rdn_have_no_order() -> None:
    """They are a set; the names of a sequence are not."""
    shown = issue(AUTHORITY, "CN=desk+UID=7,O=Acme")
    assert refusal(shown.der, client("tls_client_auth", subject_dn="UID=7+CN=desk,O=Acme")) is None
    assert refusal(shown.der, client("tls_client_auth", subject_dn="UID=7,CN=desk,O=Acme")) == "another-name"


@pytest.mark.parametrize("registered", [{}, {"subject_dn": SUBJECT, "san_dns": "desk7.acme.example"}])
def test_exactly_one_name_has_to_be_registered(registered: dict[str, str]) -> None:
    """With two, one certificate with both and two with one each would be open to argument."""
    shown = issue(AUTHORITY, names=every_name())
    assert refusal(shown.der, client("tls_client_auth", **registered)) == "no-single-name"


def test_a_self_issued_certificate_proves_no_name() -> None:
    """Anybody can write any name into a certificate of their own."""
    shown = issue()
    assert refusal(shown.der, client("tls_client_auth", subject_dn=SUBJECT)) == "self-issued"


def test_a_self_signed_certificate_is_known_by_its_thumbprint_alone() -> None:
    """Any of those registered, so that one can follow another; never one that merely says the same."""
    first, second, other = issue(), issue(), issue()
    registered = client("self_signed_tls_client_auth", thumbprints=(first.thumbprint, second.thumbprint))
    assert refusal(first.der, registered) is None
    assert refusal(second.der, registered) is None
    assert refusal(other.der, registered) == "another-certificate"


def test_thumbprints_do_not_open_the_way_by_name_nor_names_the_way_by_thumbprint() -> None:
    """What was registered for one way of authentication counts for that one."""
    shown = issue(AUTHORITY)
    by_name = client("tls_client_auth", thumbprints=(shown.thumbprint,))
    by_thumbprint = client("self_signed_tls_client_auth", subject_dn=SUBJECT)
    assert refusal(shown.der, by_name) == "no-single-name"
    assert refusal(shown.der, by_thumbprint) == "another-certificate"


def test_no_certificate_and_no_such_authentication_are_refused() -> None:
    shown = issue(AUTHORITY)
    assert refusal(None, client("tls_client_auth", subject_dn=SUBJECT)) == "no-certificate"
    assert refusal(shown.der, client("private_key_jwt", subject_dn=SUBJECT)) == "not-by-certificate"


@pytest.mark.parametrize("text", ["", "desk 7", "CN", "CN=a;O=b", "NOPE=a", "CN=a,", "CN=" + "a" * 4000])
def test_what_is_no_distinguished_name_is_told_when_it_is_registered(text: str) -> None:
    """Later it would only never match."""
    with pytest.raises(InvalidName):
        certificates.parse_subject(text)
