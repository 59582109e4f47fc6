"""How the leg proves an upstream's identity, and its own where that is asked for.

Invariant: the certificate and the host name are always verified. There is no switch for less.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from gateway.upstream.errors import TlsSettingsRefused


def client_context(
    *, ca_file: Path | None = None, client_cert_file: Path | None = None, client_key: bytes | None = None
) -> ssl.SSLContext:
    """`ca_file` takes the place of the system's authorities. `client_key` is PEM, not encrypted."""
    if (client_cert_file is None) != (client_key is None):
        raise TlsSettingsRefused("a client certificate needs its key, and a key its certificate")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise TlsSettingsRefused("the CA file cannot be used") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if client_cert_file is not None and client_key is not None:
        load_certificate(context, client_cert_file, client_key, "client certificate")
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: bytes, what: str) -> None:
    """OpenSSL takes a key from a file only; this one is readable by us alone and gone after the call."""
    with tempfile.NamedTemporaryFile(prefix="portreeve-", suffix=".pem") as file:
        file.write(key)
        file.flush()
        try:
            context.load_cert_chain(certificate, file.name, password=_refuse_to_ask)
        except (OSError, ValueError) as error:
            raise TlsSettingsRefused(f"the {what} and its key cannot be used together") from error


def _refuse_to_ask() -> str:
    """Without this, OpenSSL would ask for the passphrase on the terminal, and wait there for ever."""
    raise TlsSettingsRefused("the key is encrypted")
