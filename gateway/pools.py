"""One pool of connections for each upstream, built from the configuration.

Refuses TLS settings that can't be used, by the name of their upstream: certificates are read here, once.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from gateway import references
from gateway.settings import Settings, UpstreamSettings, UpstreamTlsSettings, parse_upstream
from gateway.upstream import TlsSettingsRefused, UpstreamPool, UpstreamTarget, client_context


def build_pools(settings: Settings) -> dict[str, UpstreamPool]:
    return {name: UpstreamPool(_target(name, upstream)) for name, upstream in settings.upstreams.items()}


def _target(name: str, upstream: UpstreamSettings) -> UpstreamTarget:
    address = parse_upstream(upstream.url)
    tls = upstream.tls or UpstreamTlsSettings()
    return UpstreamTarget(
        name=name,
        scheme=address.scheme,
        host=address.host,
        port=address.port,
        max_connections=upstream.max_connections,
        max_waiting=upstream.max_waiting,
        keep_alive_ms=upstream.keep_alive_ms,
        tls=_context(name, tls) if address.scheme == "https" else None,
        server_hostname=tls.server_name,
    )


def _context(name: str, tls: UpstreamTlsSettings) -> ssl.SSLContext:
    try:
        key = None if tls.client_key is None else references.resolve(tls.client_key, os.environ)
        return client_context(
            ca_file=None if tls.ca_file is None else Path(tls.ca_file),
            client_cert_file=None if tls.client_cert_file is None else Path(tls.client_cert_file),
            client_key=None if key is None else key.reveal().encode(),
        )
    except (TlsSettingsRefused, references.UnresolvedReference) as refused:
        raise TlsSettingsRefused(f"upstreams.{name}.tls: {refused}") from refused
