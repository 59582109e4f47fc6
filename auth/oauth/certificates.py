"""Client certificates (RFC 8705): what one says, and whether it is the one that a client registered.

Invariant: nothing here vouches for a certificate. Whoever ended TLS has seen that its holder has the key and, unless it
is self-issued, that its chain leads to an authority of ours; so a self-issued certificate proves no name, only its own
thumbprint. Refused are certificates past any sensible size, and those that cannot be read in full.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

import msgspec
from cryptography import x509

from keys.client_records import Certificate
from keys.served_clients import ServedClient

LONGEST_DER: Final = 16_384
_LONGEST_NAME: Final = 2_048
_MOST_NAMES: Final = 256
# Names of attributes that people and tools write, beside those that every RFC 4514 reader has to know.
_ATTRIBUTES: Final = {
    "E": x509.NameOID.EMAIL_ADDRESS,
    "emailAddress": x509.NameOID.EMAIL_ADDRESS,
    "serialNumber": x509.NameOID.SERIAL_NUMBER,
    "SERIALNUMBER": x509.NameOID.SERIAL_NUMBER,
    "GN": x509.NameOID.GIVEN_NAME,
    "SN": x509.NameOID.SURNAME,
    "T": x509.NameOID.TITLE,
    "title": x509.NameOID.TITLE,
    "organizationIdentifier": x509.NameOID.ORGANIZATION_IDENTIFIER,
    "businessCategory": x509.NameOID.BUSINESS_CATEGORY,
}


class InvalidCertificate(ValueError):
    """It cannot be read, or is larger than any that is taken. Says nothing of what stood there."""


class InvalidName(ValueError):
    """A text that is no distinguished name of RFC 4514."""


class CertificateMismatch(Exception):
    """The certificate is not the client's. `reason` is for the audit line, not for whoever showed it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """`thumbprint` is x5t#S256. The subject is written as RFC 4514 says; names compare by `names_equal`, not as text.

    `self_issued`: its issuer is its subject, so no authority stands behind what it says.
    """

    der: bytes
    thumbprint: str
    subject_dn: str
    san_dns: tuple[str, ...]
    san_uri: tuple[str, ...]
    san_ip: tuple[str, ...]
    san_email: tuple[str, ...]
    not_before_ms: int
    not_after_ms: int
    self_issued: bool
    subject: x509.Name

    def is_valid_at(self, at_ms: int) -> bool:
        return self.not_before_ms <= at_ms <= self.not_after_ms

    def __repr__(self) -> str:
        return f"ClientCertificate({self.thumbprint})"


def thumbprint(der: bytes) -> str:
    """`x5t#S256`: SHA-256 of the certificate's DER, in base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


@lru_cache(maxsize=1024)
def parse(der: bytes) -> ClientCertificate:
    if len(der) > LONGEST_DER:
        raise InvalidCertificate(f"the certificate is over {LONGEST_DER} bytes")
    try:
        return _read(der, x509.load_der_x509_certificate(der))
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        # Not chained: what a stranger wrote stands in those messages.
        raise InvalidCertificate("the certificate cannot be read") from None


def parse_subject(text: str) -> x509.Name:
    """A distinguished name as RFC 4514 writes it: `CN=desk 7,O=Acme,C=GB`. Not empty."""
    if not text or len(text) > _LONGEST_NAME:
        raise InvalidName("is no distinguished name")
    try:
        return x509.Name.from_rfc4514_string(text, _ATTRIBUTES)
    except ValueError:
        raise InvalidName("is no distinguished name") from None


def matches(certificate: ClientCertificate | None, client: ServedClient) -> None:
    """Raises unless the certificate is the one that this client registered, in the one way it registered it."""
    if certificate is None:
        raise CertificateMismatch("no-certificate")
    registered = client.certificate or Certificate()
    match client.authentication:
        case "self_signed_tls_client_auth":
            if certificate.thumbprint not in registered.thumbprints:
                raise CertificateMismatch("another-certificate")
        case "tls_client_auth":
            if certificate.self_issued:
                raise CertificateMismatch("self-issued")
            _match_name(certificate, registered)
        case _:
            raise CertificateMismatch("not-by-certificate")


def _match_name(certificate: ClientCertificate, registered: Certificate) -> None:
    wanted = [
        (field, text)
        for field in ("subject_dn", "san_dns", "san_uri", "san_ip", "san_email")
        if (text := getattr(registered, field)) is not None
    ]
    if len(wanted) != 1:
        # Two names would leave open whether one of them is enough.
        raise CertificateMismatch("no-single-name")
    field, text = wanted[0]
    if not _holds(certificate, field, text):
        raise CertificateMismatch("another-name")


def _holds(certificate: ClientCertificate, field: str, text: str) -> bool:
    try:
        match field:
            case "subject_dn":
                return names_equal(certificate.subject, parse_subject(text))
            case "san_dns":
                return text.lower() in map(str.lower, certificate.san_dns)
            case "san_uri":
                return text in certificate.san_uri
            case "san_ip":
                return str(ip_address(text)) in certificate.san_ip
            case _:
                return _mailbox(text) in map(_mailbox, certificate.san_email)
    except ValueError:
        # What was registered is no such name: nothing can be it.
        return False


def names_equal(one: x509.Name, other: x509.Name) -> bool:
    """Attribute by attribute, in order, whatever their order within one RDN, their spelling and their string types.

    Values count to the letter: two names that differ in case or blanks may be two holders to the authority.
    """
    return [_attributes(rdn) for rdn in one.rdns] == [_attributes(rdn) for rdn in other.rdns]


def _attributes(rdn: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str | bytes]]:
    return frozenset((each.oid.dotted_string, each.value) for each in rdn)


def _mailbox(address: str) -> tuple[str, str]:
    local, _, domain = address.rpartition("@")
    return local, domain.lower()


def _read(der: bytes, certificate: x509.Certificate) -> ClientCertificate:
    names = _alternatives(certificate)
    return ClientCertificate(
        der=der,
        thumbprint=thumbprint(der),
        subject_dn=certificate.subject.rfc4514_string(),
        san_dns=tuple(names.get_values_for_type(x509.DNSName)),
        san_uri=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        san_ip=tuple(str(each) for each in names.get_values_for_type(x509.IPAddress)),
        san_email=tuple(names.get_values_for_type(x509.RFC822Name)),
        not_before_ms=int(certificate.not_valid_before_utc.timestamp() * 1000),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
        self_issued=certificate.issuer == certificate.subject,
        subject=certificate.subject,
    )


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])
    if len(names) > _MOST_NAMES:
        raise InvalidCertificate("the certificate has too many names")
    return names
