"""What the authorization server and the protected resource say of themselves (RFC 8414, RFC 9728). Pure.

Invariant: the issuer stands there exactly as tokens carry it, every address begins with it, and nothing is listed that
is not served. Algorithms and methods are those that are taken, and none that only the library knows.
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

ALGORITHMS: Final = ("PS256", "ES256", "EdDSA", "Ed25519")
_CERTIFICATE_METHODS: Final = ("tls_client_auth", "self_signed_tls_client_auth")
_CODE: Final = "authorization_code"
_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"

SERVER: Final = "/.well-known/oauth-authorization-server"
RESOURCE: Final = "/.well-known/oauth-protected-resource"
KEYS: Final = "/.well-known/jwks.json"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What this gateway is configured to serve. `certificates`: whether a client's TLS certificate can be seen."""

    issuer: str
    resources: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    docs: str
    certificates: bool
    registration: bool


def address(issuer: str, path: str) -> str:
    return issuer.rstrip("/") + path


def server(offer: Offer) -> dict[str, Any]:
    methods = ["private_key_jwt", *(_CERTIFICATE_METHODS if offer.certificates else ())]
    methods += ["client_secret_basic", "none"]
    told: dict[str, Any] = {
        "issuer": offer.issuer,
        "token_endpoint": address(offer.issuer, "/oauth/token"),
        "jwks_uri": address(offer.issuer, KEYS),
        "scopes_supported": list(offer.scopes),
        "response_types_supported": ["code"] if _CODE in offer.grant_types else [],
        "grant_types_supported": list(offer.grant_types),
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": offer.certificates,
        "protected_resources": list(offer.resources),
        "service_documentation": offer.docs,
        **_authenticated("token_endpoint", methods),
    }
    for name in ("introspection", "revocation"):
        told[f"{name}_endpoint"] = address(offer.issuer, f"/oauth/{_PATHS[name]}")
        # To end a token its bare name is proof enough; to be told of one it is not.
        told |= _authenticated(f"{name}_endpoint", methods[:-1] if name == "introspection" else methods)
    if _CODE in offer.grant_types:
        told |= _code_flow(offer.issuer)
    if _DEVICE in offer.grant_types:
        told["device_authorization_endpoint"] = address(offer.issuer, "/oauth/device_authorization")
    if offer.registration:
        told["registration_endpoint"] = address(offer.issuer, "/oauth/register")
    return told


def resource(offer: Offer, identifier: str) -> dict[str, Any]:
    return {
        "resource": identifier,
        "authorization_servers": [offer.issuer],
        "scopes_supported": list(offer.scopes),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": offer.certificates,
        "resource_documentation": offer.docs,
    }


def find_by_path(identifiers: Iterable[str], path: str) -> str | None:
    """Whose document is asked for: what has a path of its own has it behind the well-known one."""
    for identifier in identifiers:
        if urlsplit(identifier).path.rstrip("/") == path.rstrip("/"):
            return identifier
    return None


_PATHS: Final = {"introspection": "introspect", "revocation": "revoke"}


def _authenticated(endpoint: str, methods: list[str]) -> dict[str, Any]:
    return {
        f"{endpoint}_auth_methods_supported": methods,
        f"{endpoint}_auth_signing_alg_values_supported": list(ALGORITHMS),
    }


def _code_flow(issuer: str) -> dict[str, Any]:
    return {
        "authorization_endpoint": address(issuer, "/oauth/authorize"),
        "pushed_authorization_request_endpoint": address(issuer, "/oauth/par"),
        "require_pushed_authorization_requests": True,
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
