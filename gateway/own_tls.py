"""The server's own TLS, from the configuration.

Refuses what cannot be used, by the name of its table: certificates and keys are read here.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway import references
from gateway.server.tls import OwnTls, TlsFiles
from gateway.settings import ServerTlsSettings, Settings
from gateway.upstream import TlsSettingsRefused


def build(settings: Settings) -> OwnTls | None:
    """None where the node speaks plain HTTP."""
    tls = settings.server.tls
    if tls is None:
        return None
    try:
        return OwnTls(_files(tls))
    except TlsSettingsRefused as refused:
        raise TlsSettingsRefused(f"server.tls: {refused}") from refused


def require_usable(settings: Settings) -> None:
    build(settings)


def _files(tls: ServerTlsSettings) -> TlsFiles:
    key = references.parse(tls.private_key)
    return TlsFiles(
        cert_file=Path(tls.cert_file),
        read_key=lambda: _read_key(tls.private_key),
        key_file=Path(key.name) if key.kind == "file" else None,
        asks_for_certificates=tls.client_certificates == "optional",
        client_ca_file=_find_path(tls.client_ca_file),
        self_signed_file=_find_path(tls.self_signed_file),
    )


def _read_key(reference: str) -> bytes:
    try:
        return references.resolve(reference, os.environ).reveal().encode()
    except references.UnresolvedReference as refused:
        raise TlsSettingsRefused(str(refused)) from None


def _find_path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
