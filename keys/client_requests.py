"""Checking what an OAuth client is asked to be before anything is stored. Pure.

Invariant: a client is what FAPI 2.0 asks for, or says by name where it is weaker, and names nothing that it is not: its
exceptions are all there is to look at. What passes is stored as it stands. Which permissions a role grants, and who may
not have them, is the policies' knowledge. Refuses redirect URIs that could mean more than one place.
"""

import base64
import binascii
import ipaddress
import re
from types import MappingProxyType
from typing import Final, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

import msgspec

from keys import environment, public_jwks, refusals, requests
from keys.client_records import (
    About,
    Authentication,
    Binding,
    Certificate,
    ClientException,
    ClientRequest,
    GrantType,
    OAuthClient,
)

MOST_REDIRECT_URIS: Final = 16

_CODE: Final = "authorization_code"
_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_BY_KEYS: Final = "private_key_jwt"
_BY_NAME: Final = "tls_client_auth"
_BY_CERTIFICATE: Final = "self_signed_tls_client_auth"
_BY_SECRET: Final = "client_secret_basic"  # noqa: S105  a way to authenticate
_PUBLIC: Final = "none"
_AUTHENTICATIONS: Final[frozenset[str]] = frozenset(get_args(Authentication))
_GRANTS: Final[frozenset[str]] = frozenset(get_args(GrantType))
_EXCEPTIONS: Final[frozenset[str]] = frozenset(get_args(ClientException))
_BINDINGS: Final = frozenset({None, *get_args(Binding)})
_NEEDED: Final = MappingProxyType[str, ClientException](
    {_BY_SECRET: "client-secret", _PUBLIC: "public-client"}
)
_LONGEST_URI: Final = 2_048
_MOST_THUMBPRINTS: Final = 4
_MOST_CONTACTS: Final = 8
_SHA256: Final = 32
_LONGEST_NAMED: Final = 1_024
# Of RFC 3986 what a URI is written with, without what begins a fragment and what a wildcard would be.
_URI: Final = re.compile(r"[A-Za-z0-9:/?@!$&'()+,;=._~%-]+", re.ASCII)
_ESCAPES: Final = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
# Reverse domain names (RFC 8252, section 7.1): one with a dot belongs to somebody.
_PRIVATE_SCHEME: Final = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", re.ASCII)
_MAIL: Final = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}")

_Text = TypeVar("_Text", bound=str)


class InvalidAuthentication(refusals.InvalidRequest):
    field = "authentication"


class InvalidBinding(refusals.InvalidRequest):
    field = "binding"


class InvalidGrants(refusals.InvalidRequest):
    field = "grants"


class InvalidExceptions(refusals.InvalidRequest):
    field = "exceptions"


class InvalidRedirectUri(refusals.InvalidRequest):
    field = "redirect_uris"


class InvalidKeys(refusals.InvalidRequest):
    field = "jwk"


class InvalidKeysUrl(refusals.InvalidRequest):
    field = "jwks_url"


class InvalidCertificate(refusals.InvalidRequest):
    field = "certificate"


class InvalidAbout(refusals.InvalidRequest):
    field = "about"


def default_binding(authentication: str) -> Binding:
    """Whoever shows a certificate anyway has its tokens bound to that."""
    return "mtls" if authentication in {_BY_NAME, _BY_CERTIFICATE} else "dpop"


def check_client(request: ClientRequest, now_ms: int) -> ClientRequest:
    """The request as it would be stored; its key in canonical form."""
    environment.parse_environment(request.environment)
    if request.authentication not in _AUTHENTICATIONS:
        raise InvalidAuthentication(f"a client authenticates by one of {', '.join(sorted(_AUTHENTICATIONS))}")
    _require_by_value_or_url(request)
    checked = _check_terms(request)
    if request.expires_at is not None and request.expires_at <= now_ms:
        raise requests.InvalidExpiry("the client would have expired before it is made")
    key = request.public_key
    return msgspec.structs.replace(
        checked, public_key=None if key is None else public_jwks.parse_serialised(key).serialise()
    )


def check_changed(before: OAuthClient, after: OAuthClient, now_ms: int) -> OAuthClient:
    """A client as it is to be, which has the keys or the secret that it had."""
    if after.expires_at not in {None, before.expires_at} and (after.expires_at or 0) <= now_ms:
        raise requests.InvalidExpiry("to end a client now, revoke it")
    if (before.keys_url is None) != (after.keys_url is None):
        raise InvalidKeysUrl("whether its keys lie by value or by URL stays as it is: make another client")
    return _check_terms(after)


_Terms = TypeVar("_Terms", ClientRequest, OAuthClient)


def _check_terms(terms: _Terms) -> _Terms:
    if not terms.name or not requests.is_plain(terms.name, requests.LONGEST_TEXT):
        raise requests.InvalidName(
            f"a name is 1 to {requests.LONGEST_TEXT} printable characters without space around them, and no secret"
        )
    grants = _check_grants(terms.grants, terms.authentication)
    exceptions = _check_exceptions(terms)
    _check_certificate(terms.certificate, terms.authentication)
    if terms.keys_url is not None:
        _require_web(
            terms.keys_url, InvalidKeysUrl("the address of a JWKS is https, or http on the loopback")
        )
    _check_about(terms.about)
    return msgspec.structs.replace(
        terms,
        grants=grants,
        exceptions=exceptions,
        redirect_uris=_check_redirect_uris(terms.redirect_uris, grants, terms.authentication),
        roles=requests.check_roles(terms.roles),
        permissions=requests.check_permissions(terms.permissions),
        cidrs=requests.check_cidrs(terms.cidrs),
    )


def _require_by_value_or_url(request: ClientRequest) -> None:
    given = (request.public_key is not None) + (request.keys_url is not None)
    if request.authentication != _BY_KEYS:
        if given:
            raise InvalidKeys(f"a client that authenticates by {request.authentication} has no keys here")
        return
    if given != 1:
        raise InvalidKeys("the keys of a client come by value or by URL: one of the two, and never both")


def _check_grants(grants: tuple[GrantType, ...], authentication: str) -> tuple[GrantType, ...]:
    if not grants or not _GRANTS.issuperset(grants):
        raise InvalidGrants(f"grants are some of {', '.join(sorted(_GRANTS))}")
    if "refresh_token" in grants and not {_CODE, _DEVICE}.intersection(grants):
        raise InvalidGrants(
            "refresh_token goes on with what a person allowed: it needs authorization_code too"
        )
    if authentication == _PUBLIC and "client_credentials" in grants:
        raise InvalidGrants("a public client proves nothing of itself: it has no client_credentials")
    return _distinct(grants)


def _check_exceptions(terms: ClientRequest | OAuthClient) -> tuple[ClientException, ...]:
    """Every weakness by its name, and none that the client does not have."""
    if terms.binding not in _BINDINGS:
        raise InvalidBinding("access tokens are bound by dpop or mtls")
    if not _EXCEPTIONS.issuperset(terms.exceptions):
        raise InvalidExceptions(f"exceptions are some of {', '.join(sorted(_EXCEPTIONS))}")
    needed: set[ClientException] = set()
    if terms.authentication in _NEEDED:
        needed.add(_NEEDED[terms.authentication])
    if terms.binding is None:
        needed.add("bearer-tokens")
    missing, needless = needed - set(terms.exceptions), set(terms.exceptions) - needed
    if missing:
        raise InvalidExceptions(f"this is weaker than FAPI 2.0, and needs the exception {min(missing)}")
    if needless:
        raise InvalidExceptions(
            f"the client would not be weaker by {min(needless)}: leave that exception out"
        )
    return _distinct(terms.exceptions)


def _check_redirect_uris(
    uris: tuple[str, ...], grants: tuple[str, ...], authentication: str
) -> tuple[str, ...]:
    if (_CODE in grants) != bool(uris):
        raise InvalidRedirectUri("with authorization_code a client has redirect URIs, and otherwise none")
    if len(uris) > MOST_REDIRECT_URIS:
        raise InvalidRedirectUri(f"a client has at most {MOST_REDIRECT_URIS} redirect URIs")
    for uri in uris:
        _check_redirect_uri(uri, is_public=authentication == _PUBLIC)
    return _distinct(uris)


def _check_redirect_uri(uri: str, *, is_public: bool) -> None:
    refusal = InvalidRedirectUri(
        "a redirect URI is https, or http on the loopback, without user, fragment and wildcard"
    )
    scheme = uri.partition(":")[0]
    if scheme not in {"https", "http"}:
        if not is_public:
            raise InvalidRedirectUri(f"{refusal}; only a public client has one of a scheme of its own")
        if _PRIVATE_SCHEME.fullmatch(scheme) is None or not _split(uri, refusal).path:
            raise InvalidRedirectUri(
                "a scheme of one's own is a domain written backwards: com.example.app:/done"
            )
        return
    _require_web(uri, refusal)


def _require_web(uri: str, refusal: refusals.InvalidRequest) -> None:
    parts = _split(uri, refusal)
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not _is_host(parts, host):
        raise refusal
    if parts.scheme == "http" and not _is_loopback(host):
        raise refusal
    if any(segment in {".", ".."} for segment in parts.path.lower().replace("%2e", ".").split("/")):
        raise refusal


def _split(uri: str, refusal: refusals.InvalidRequest) -> SplitResult:
    if len(uri) > _LONGEST_URI or _URI.fullmatch(uri.replace("[", "").replace("]", "")) is None:
        raise refusal
    if _ESCAPES.search(uri):
        raise refusal
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise refusal from None
    if parts.username is not None or parts.password is not None or port == 0:
        raise refusal
    if "[" in uri.replace(parts.netloc, "", 1) or "]" in uri.replace(parts.netloc, "", 1):
        raise refusal
    return parts


def _is_host(parts: SplitResult, host: str) -> bool:
    """Written as it is compared: small, without a last dot, an empty port or a colon too many."""
    authority = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        authority += f":{parts.port}"
    if authority != parts.netloc:
        return False
    if ":" in host:
        return _is_address(host)
    return _HOST.fullmatch(host) is not None and ".." not in host


def _is_address(host: str) -> bool:
    try:
        # With a zone it would be another place on every machine.
        return "%" not in host and str(ipaddress.IPv6Address(host)) == host
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    """Not `localhost`, which is whatever somebody's machine makes of it (RFC 8252, section 8.3)."""
    return host in {"127.0.0.1", "::1"}


def _check_certificate(certificate: Certificate | None, authentication: str) -> None:
    if authentication not in {_BY_NAME, _BY_CERTIFICATE}:
        if certificate is not None:
            raise InvalidCertificate(
                f"a client that authenticates by {authentication} has no certificate here"
            )
        return
    if certificate is None:
        raise InvalidCertificate(f"{authentication} needs to be told which certificate")
    names = [
        certificate.subject_dn,
        certificate.san_dns,
        certificate.san_uri,
        certificate.san_ip,
        certificate.san_email,
    ]
    named = [name for name in names if name is not None]
    if authentication == _BY_NAME:
        if len(named) != 1 or certificate.thumbprints:
            raise InvalidCertificate("tls_client_auth goes by exactly one name, and by no thumbprint")
        _check_name(certificate, named[0])
        return
    if named or not 1 <= len(certificate.thumbprints) <= _MOST_THUMBPRINTS:
        raise InvalidCertificate(
            f"self_signed_tls_client_auth goes by 1 to {_MOST_THUMBPRINTS} thumbprints, and by no name"
        )
    for thumbprint in certificate.thumbprints:
        _require_thumbprint(thumbprint)


def _check_name(certificate: Certificate, name: str) -> None:
    if not name or not requests.is_plain(name, _LONGEST_NAMED) or "*" in name:
        raise InvalidCertificate("the name of a certificate is printable, and has no wildcard")
    if certificate.san_ip is not None:
        try:
            is_written_so = str(ipaddress.ip_address(name)) == name
        except ValueError:
            is_written_so = False
        if not is_written_so:
            raise InvalidCertificate("san_ip is one address, as addresses are written")


def _require_thumbprint(text: str) -> None:
    refusal = InvalidCertificate("a thumbprint is the SHA-256 of the certificate (DER), as base64url")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise refusal from None
    if len(decoded) != _SHA256 or base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != text:
        raise refusal


def _check_about(about: About) -> None:
    refusal = InvalidAbout("what people are shown of a client lies at https, or http on the loopback")
    for uri in (about.client_uri, about.logo_uri, about.policy_uri, about.tos_uri):
        if uri is not None:
            _require_web(uri, refusal)
    if len(about.contacts) > _MOST_CONTACTS or not all(_is_mail(each) for each in about.contacts):
        raise InvalidAbout(f"contacts are at most {_MOST_CONTACTS} mail addresses")
    for text in (about.software_id, about.software_version):
        if text is not None and not requests.is_plain(text, requests.LONGEST_TEXT):
            raise InvalidAbout("the software's id and version are printable, and no secret")


def _is_mail(text: str) -> bool:
    return requests.is_plain(text, _LONGEST_NAMED) and _MAIL.fullmatch(text) is not None


def _distinct(texts: tuple[_Text, ...]) -> tuple[_Text, ...]:
    return tuple(dict.fromkeys(texts))
