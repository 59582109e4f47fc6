"""[server.tls], and the header by which a proxy that ends TLS tells of a client's certificate."""

import re
from collections.abc import Iterator
from typing import Final

from gateway import references
from gateway.headers import may_carry_certificate
from gateway.settings.faults import Fault
from gateway.settings.values import Settings

_HEADER: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?", re.ASCII)
_HEADER_PLACE: Final = "oauth.client_certificate_header"


def find_tls_faults(settings: Settings) -> Iterator[Fault]:
    yield from _check_own(settings)
    yield from _check_header(settings)


def _check_own(settings: Settings) -> Iterator[Fault]:
    tls = settings.server.tls
    if tls is None:
        return
    try:
        references.parse(tls.private_key)
    except references.MalformedReference as failure:
        yield Fault("server.tls.private_key", str(failure))
    trusted = (tls.client_ca_file, tls.self_signed_file)
    if tls.client_certificates == "off" and trusted != (None, None):
        yield Fault("server.tls.client_certificates", 'is "off", but files say whose certificates are taken')
    if tls.client_certificates == "optional" and trusted == (None, None):
        yield Fault(
            "server.tls.client_certificates", 'is "optional" without client_ca_file or self_signed_file'
        )


def _check_header(settings: Settings) -> Iterator[Fault]:
    header = settings.oauth.client_certificate_header
    if header is None:
        return
    if _HEADER.fullmatch(header) is None:
        yield Fault(_HEADER_PLACE, "is no name of a header: letters, digits and '-'")
    elif not may_carry_certificate(header.lower().encode("ascii")):
        yield Fault(_HEADER_PLACE, "is a header that means something else")
    if not settings.server.trusted_proxies:
        yield Fault(_HEADER_PLACE, "is set, but server.trusted_proxies names nobody to believe")
