"""Client certificates as partners would have them: of an authority's, self-signed, expired, or of somebody else's."""

from __future__ import annotations

import base64
import datetime as dt
import ssl
import urllib.parse
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import msgspec
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auth.oauth import certificates

SUBJECT = "CN=desk 7,O=Acme,C=GB"
DAY = dt.timedelta(days=1)


class Shown(msgspec.Struct, frozen=True, eq=False):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def thumbprint(self) -> str:
        return certificates.thumbprint(self.der)

    @property
    def rfc9440(self) -> str:
        return f":{base64.b64encode(self.der).decode()}:"

    @property
    def escaped(self) -> str:
        """As nginx writes `$ssl_client_escaped_cert`."""
        return urllib.parse.quote(self.pem, safe="")

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        cert_file.write_bytes(self.pem)
        key_file.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        key_file.chmod(0o600)
        return cert_file, key_file


def issue(
    authority: trustme.CA | Shown | None = None,
    subject: str = SUBJECT,
    *,
    names: Iterable[x509.GeneralName] = (),
    begins: dt.timedelta = -DAY,
    ends: dt.timedelta = 30 * DAY,
    is_authority: bool | None = False,
) -> Shown:
    """Without an authority it is signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name.from_rfc4514_string(subject), dt.datetime.now(dt.UTC)
    issuer, signer = _issuer(authority, name, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    if is_authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    if names := list(names):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Shown(builder.sign(signer, hashes.SHA256()), key)


def _issuer(
    authority: trustme.CA | Shown | None, name: x509.Name, key: ec.EllipticCurvePrivateKey
) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    if authority is None:
        return name, key
    if isinstance(authority, Shown):
        return authority.certificate.subject, authority.key
    certificate = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return certificate.subject, signer


def every_name() -> list[x509.GeneralName]:
    return [
        x509.DNSName("Desk7.acme.example"),
        x509.UniformResourceIdentifier("spiffe://acme.example/desk/7"),
        x509.IPAddress(ip_address("2001:db8::7")),
        x509.RFC822Name("Desk.7@Acme.example"),
    ]


def client_context(authority: trustme.CA, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """What a client connects with that knows the server's authority, and shows a certificate if it has one."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if shown is not None:
        context.load_cert_chain(*shown)
    return context
