"""The headers that every page carries, and what they keep out.

Invariant: a page loads and runs nothing but our own files, stands in no frame, tells nobody where its reader came
from, is kept by no cache, and sends its forms nowhere but here, or on to the one client that it is about.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

_FIXED: Final = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(),"
        " publickey-credentials-get=(self), publickey-credentials-create=(self)"
    ),
}
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'{also}; base-uri 'none'; frame-ancestors 'none'"
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)


class NoOrigin(ValueError):
    """A redirect URI from which no source for the policy can be made."""


def headers(form_target: str | None = None) -> dict[str, str]:
    """`form_target`: the redirect URI that answering the page's form may lead on to."""
    also = "" if form_target is None else f" {source_of(form_target)}"
    return {**_FIXED, "cache-control": "no-store", "content-security-policy": _POLICY.format(also=also)}


def asset_headers() -> dict[str, str]:
    return {**_FIXED, "cache-control": "public, max-age=31536000, immutable"}


def source_of(redirect_uri: str) -> str:
    """Browsers that hold `form-action` hold it for where a form's answer redirects to as well."""
    try:
        parts = urlsplit(redirect_uri)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise NoOrigin("no origin can be read from it") from None
    if not _SCHEME.fullmatch(scheme):
        raise NoOrigin("it has no scheme")
    if scheme not in {"http", "https"} or (host is not None and ":" in host):
        # An app's own scheme has no origin, and the policy's grammar has no place for an IPv6 address.
        return f"{scheme}:"
    if host is None or not _HOST.fullmatch(host):
        raise NoOrigin("it has no host")
    return f"{scheme}://{host}" if port is None else f"{scheme}://{host}:{port}"
