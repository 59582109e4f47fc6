"""Who is at the other end of a connection, by the certificate of its TLS handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.server.protocol import StrictProtocol


def find_certificate(connection: StrictProtocol) -> bytes | None:
    """As DER; None if it showed none, or there was no handshake. Read when first asked for, and then kept."""
    kept = connection.certificate
    if kept is None:
        over_tls = connection.transport.get_extra_info("ssl_object")
        kept = b"" if over_tls is None else over_tls.getpeercert(binary_form=True) or b""
        connection.certificate = kept
    return kept or None
