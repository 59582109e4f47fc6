"""[server.tls] and the header for certificates: what does not fit together is refused at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import settings
from tests.support.settings_files import MINIMAL, Document, refusal, write

TLS: Document = {"cert_file": "tls/cert.pem", "private_key": "file:tls/key.pem"}
PROXIES: Document = {"trusted_proxies": ["10.0.0.0/8"]}


def put(document: Document, **sections: Document) -> None:
    for name, section in sections.items():
        document[name] = {**document.get(name, {}), **section}


def refused(tmp_path: Path, **sections: Document) -> list[str]:
    return list(refusal(tmp_path, lambda document: put(document, **sections)))


def test_paths_start_from_the_directory_of_the_file(tmp_path: Path) -> None:
    """Like all others; and certificates are off unless asked for."""
    document = {
        **MINIMAL,
        "server": {"tls": {**TLS, "client_certificates": "optional", "client_ca_file": "ca.pem"}},
    }
    found = settings.load(write(tmp_path, document)).server.tls
    assert found is not None
    assert (found.cert_file, found.client_ca_file) == (
        str(tmp_path / "tls/cert.pem"),
        str(tmp_path / "ca.pem"),
    )
    assert found.private_key == f"file:{tmp_path / 'tls/key.pem'}"
    assert settings.ServerTlsSettings(**TLS).client_certificates == "off"


@pytest.mark.parametrize(
    ("tls", "line"),
    [
        ({"private_key": "-----BEGIN PRIVATE KEY-----"}, "server.tls.private_key: a secret stands here as"),
        ({"client_ca_file": "ca.pem"}, 'server.tls.client_certificates: is "off", but'),
        ({"self_signed_file": "ca.pem"}, 'server.tls.client_certificates: is "off", but'),
        ({"client_certificates": "optional"}, 'server.tls.client_certificates: is "optional" without'),
        ({"client_certificates": "required"}, "server.tls.client_certificates: invalid enum value"),
        ({"ciphers": "ALL"}, "server.tls: object contains unknown field"),
    ],
)
def test_tables_that_do_not_agree_with_themselves_are_refused(
    tmp_path: Path, tls: Document, line: str
) -> None:
    """Files that nobody reads, and a question that nobody can answer."""
    assert any(line in found for found in refused(tmp_path, server={"tls": {**TLS, **tls}}))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "two words",
        "Client_Cert",
        "Client-Cert:",
        "Host",
        "authorization",
        "DPoP",
        "Connection",
        "Content-Length",
        "Portreeve-Certificate",
        "X-Forwarded-For",
        "Forwarded",
        "Signature",
    ],
)
def test_a_header_that_is_none_or_means_something_else_is_refused(tmp_path: Path, header: str) -> None:
    """Taking it away from requests would take away what it means."""
    found = refused(tmp_path, server=PROXIES, oauth={"client_certificate_header": header})
    assert any(line.startswith("portreeve.toml: oauth.client_certificate_header: is") for line in found)


@pytest.mark.parametrize("header", ["Client-Cert", "X-SSL-Client-Cert", "X-Client-Cert", "x-tls-peer"])
def test_a_header_needs_somebody_who_is_believed(tmp_path: Path, header: str) -> None:
    """Without a trusted proxy it would never count, and whoever set it believes that it does."""
    oauth = {"client_certificate_header": header}
    assert any("names nobody to believe" in line for line in refused(tmp_path, oauth=oauth))
    document = {**MINIMAL, "server": PROXIES, "oauth": oauth}
    assert settings.load(write(tmp_path, document)).oauth.client_certificate_header == header
