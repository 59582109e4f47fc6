"""The certificate that a client showed (RFC 8705): to this node itself, or to the proxy in front of it.

Invariant: a header counts only from a trusted proxy, and what comes through a proxy has no other certificate: the one
of that connection, if any, is the proxy's own. None stands for no certificate, and for one that is not valid at the
time of the request. Nothing is read before somebody asks, and a certificate is read once, however often it comes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from auth.oauth import certificates
from auth.oauth.certificates import ClientCertificate
from gateway.problems import Refusal
from gateway.server import peer
from gateway.settings import Settings
from gateway.stages.admit import Admitted

# The key in the scope by which the gateway's own pages know it.
SCOPE: Final = "portreeve.client_certificate"

# Three quarters of its escapes are of three bytes each at the very most.
_LONGEST: Final = 3 * certificates.LONGEST_DER
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----[\r\n]*", re.ASCII
)


def header_name(configured: str | None) -> bytes | None:
    return None if configured is None else configured.lower().encode("ascii")


def can_be_seen(settings: Settings) -> bool:
    """Whether some client could show one at all."""
    tls, header = settings.server.tls, settings.oauth.client_certificate_header
    return header is not None or (tls is not None and tls.client_certificates != "off")


def client_certificate_of(admitted: Admitted) -> ClientCertificate | None:
    arrival = admitted.arrival
    if admitted.via_proxy:
        told = admitted.headers.certificate
        der = None if told is None else _decode(told)
    else:
        der = None if arrival.protocol is None else peer.find_certificate(arrival.protocol)
    if der is None:
        return None
    try:
        certificate = certificates.parse(der)
    except certificates.InvalidCertificate as failure:
        raise Refusal("malformed_headers", f"Of the client certificate: {failure}.") from None
    return certificate if certificate.is_valid_at(arrival.at_ms) else None


def client_certificate_of_scope(scope: Mapping[str, Any]) -> ClientCertificate | None:
    """For pages of the gateway's own."""
    certificate: ClientCertificate | None = scope.get(SCOPE)
    return certificate


def _decode(told: bytes) -> bytes | None:
    """`:base64:` as RFC 9440 writes it, or PEM with escapes as nginx does. Empty: the proxy saw none."""
    if not told:
        return None
    if len(told) > _LONGEST:
        raise _unreadable()
    if told.startswith(b":"):
        if len(told) < 3 or not told.endswith(b":"):  # noqa: PLR2004  the two colons, and something between
            raise _unreadable()
        return _decode_base64(told[1:-1])
    found = _PEM.fullmatch(unquote_to_bytes(told))
    if found is None:
        raise _unreadable()
    return _decode_base64(found[1].translate(None, b"\r\n"))


def _decode_base64(encoded: bytes) -> bytes:
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise _unreadable() from None
    if base64.b64encode(decoded) != encoded:
        # Bits behind the end: another spelling of the same certificate.
        raise _unreadable()
    return decoded


def _unreadable() -> Refusal:
    return Refusal("malformed_headers", "The header with the client certificate is malformed.")
