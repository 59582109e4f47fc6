"""Client metadata as RFC 7591 writes it, to and from what custody keeps of a client. Pure.

Invariant: what is registered so is what FAPI 2.0 asks for; whoever wants less is registered by an operator, who names
the exception. What is not known here is passed over, as the standard says, and never kept. A refusal repeats nothing of
what came, which may be somebody's private key.
Refuses: software statements, and whatever `keys.client_requests` finds wrong.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from auth.oauth import errors
from keys import client_requests, public_jwks, refusals, requests
from keys.client_records import (
    About,
    Authentication,
    Binding,
    Certificate,
    ClientChange,
    ClientRequest,
    GrantType,
    OAuthClient,
)
from keys.registration_records import RegistrationToken

INVALID: Final = "invalid_client_metadata"
INVALID_REDIRECT: Final = "invalid_redirect_uri"

_CODE: Final = "authorization_code"
_NAMES: Final = ("subject_dn", "san_dns", "san_uri", "san_ip", "san_email")
_BY_KEYS: Final = "private_key_jwt"
_BY_NAME: Final = "tls_client_auth"
_UNNAMED: Final = "A client"
_PLACE: Final = re.compile(r"`\$\.([a-z_]{1,64})")


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """As it comes. `jwks` is looked at by whoever knows keys."""

    client_id: str | None = None
    redirect_uris: tuple[str, ...] = ()
    token_endpoint_auth_method: str | None = None
    grant_types: tuple[GrantType, ...] = (_CODE,)
    response_types: tuple[str, ...] | None = None
    client_name: str = _UNNAMED
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    contacts: tuple[str, ...] = ()
    scope: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    software_id: str | None = None
    software_version: str | None = None
    software_statement: str | None = None
    tls_client_auth_subject_dn: str | None = None
    tls_client_auth_san_dns: str | None = None
    tls_client_auth_san_uri: str | None = None
    tls_client_auth_san_ip: str | None = None
    tls_client_auth_san_email: str | None = None
    tls_client_certificate_bound_access_tokens: bool = False
    dpop_bound_access_tokens: bool = False


def parse(body: bytes) -> Metadata:
    try:
        found = msgspec.json.decode(body, type=Metadata)
    except msgspec.ValidationError as misfit:
        # Of what the decoder says the place alone: it quotes values, too.
        place = _PLACE.search(str(misfit))
        told = "The body is not a JSON object." if place is None else f"The member {place[1]} does not fit."
        raise invalid(told) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise invalid("The body is not a JSON object.") from None
    if found.software_statement is not None:
        raise errors.OAuthError("unapproved_software_statement", "Software statements are not taken here.")
    expected = ("code",) if _CODE in found.grant_types else ()
    if found.response_types is not None and found.response_types != expected:
        raise invalid("The response type of authorization_code is code; the other grants have none.")
    return found


def invalid(description: str) -> errors.OAuthError:
    return errors.OAuthError(INVALID, description)


def refused(refusal: refusals.InvalidRequest) -> errors.OAuthError:
    if isinstance(refusal, requests.InvalidPermissions):
        # It would be quoted.
        return invalid("The scope is not made of permissions.")
    told = str(refusal)
    code = INVALID_REDIRECT if isinstance(refusal, client_requests.InvalidRedirectUri) else INVALID
    return errors.OAuthError(code, told[:1].upper() + told[1:] + ".")


def request_of(asked: Metadata, token: RegistrationToken) -> ClientRequest:
    authentication = _authentication(asked)
    return ClientRequest(
        partner=token.partner,
        environment=token.environment,
        name=asked.client_name,
        authentication=authentication,
        binding=_binding(asked, authentication),
        grants=asked.grant_types,
        roles=token.roles,
        permissions=_permissions(asked),
        redirect_uris=asked.redirect_uris,
        public_key=public_key_of(asked),
        keys_url=asked.jwks_uri,
        certificate=_certificate(asked),
        about=_about(asked),
    )


def change_of(asked: Metadata, seen: OAuthClient) -> ClientChange:
    """The whole of it takes the place of the whole that there was (RFC 7592)."""
    if asked.client_id != seen.id:
        raise invalid("The metadata name another client.")
    authentication = _authentication(asked)
    if authentication != seen.authentication or (asked.jwks_uri is None) != (seen.keys_url is None):
        raise invalid("How a client proves itself stays as it is: register another one.")
    return ClientChange(
        name=asked.client_name,
        binding=_binding(asked, authentication),
        grants=asked.grant_types,
        permissions=_permissions(asked),
        redirect_uris=asked.redirect_uris,
        keys_url=msgspec.UNSET if asked.jwks_uri is None else asked.jwks_uri,
        certificate=_certificate(asked) or msgspec.UNSET,
        about=_about(asked),
    )


def public_key_of(asked: Metadata) -> bytes | None:
    if asked.jwks is None:
        return None
    if asked.jwks_uri is not None:
        raise invalid("The keys come by value or by URL, and never both.")
    if "keys" not in asked.jwks:
        raise invalid("The member jwks is a JSON Web Key Set.")
    found = public_jwks.parse_set(asked.jwks)
    if len(found) != 1:
        raise invalid("The key set holds one key for signatures; whoever has several gives a jwks_uri.")
    return found[0].serialise()


def view(client: OAuthClient) -> dict[str, Any]:
    """As the standard has it; what says nothing is left out."""
    active = next((each for each in reversed(client.versions) if each.state == "active"), None)
    key = None if active is None else active.public_key
    told: dict[str, Any] = {
        "client_id": client.id,
        "client_id_issued_at": client.created_at // 1000,
        "client_name": client.name,
        "token_endpoint_auth_method": client.authentication,
        "grant_types": list(client.grants),
        "response_types": ["code"] if _CODE in client.grants else [],
        "redirect_uris": list(client.redirect_uris) or None,
        "scope": None if client.permissions is None else " ".join(client.permissions),
        "jwks_uri": client.keys_url,
        "jwks": None if key is None else {"keys": [msgspec.json.decode(key)]},
        "dpop_bound_access_tokens": client.binding == "dpop",
        "tls_client_certificate_bound_access_tokens": client.binding == "mtls",
        **{name: value or None for name, value in msgspec.to_builtins(client.about).items()},
    }
    if client.certificate is not None:
        told |= {f"tls_client_auth_{name}": getattr(client.certificate, name) for name in _NAMES}
    return {name: value for name, value in told.items() if value is not None}


def _authentication(asked: Metadata) -> Authentication:
    """What the standard would take where none is named is a secret, which is not given here."""
    wanted = asked.token_endpoint_auth_method or _BY_KEYS
    if wanted == _BY_KEYS:
        return "private_key_jwt"
    if wanted == _BY_NAME:
        return "tls_client_auth"
    raise invalid(f"What registers itself authenticates by {_BY_KEYS} or {_BY_NAME}.")


def _binding(asked: Metadata, authentication: str) -> Binding:
    if asked.dpop_bound_access_tokens and asked.tls_client_certificate_bound_access_tokens:
        raise invalid("Access tokens are bound by DPoP or by a certificate: one of the two.")
    if asked.tls_client_certificate_bound_access_tokens:
        return "mtls"
    return "dpop" if asked.dpop_bound_access_tokens else client_requests.default_binding(authentication)


def _permissions(asked: Metadata) -> tuple[str, ...] | None:
    return None if asked.scope is None else tuple(asked.scope.split())


def _certificate(asked: Metadata) -> Certificate | None:
    named = {name: getattr(asked, f"tls_client_auth_{name}") for name in _NAMES}
    given = {name: value for name, value in named.items() if value is not None}
    return Certificate(**given) if given else None


def _about(asked: Metadata) -> About:
    return About(**{name: getattr(asked, name) for name in About.__struct_fields__})
