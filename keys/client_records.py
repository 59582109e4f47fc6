"""OAuth clients as the control side sees them. None of these values holds a secret, but for `CreatedClient`, which
carries a new one to whoever asked for it, once, wrapped.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from keys.environment import Environment
from keys.records import SecretVersion
from keys.secret import Secret

Authentication = Literal[
    "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth", "client_secret_basic", "none"
]
Binding = Literal["dpop", "mtls"]
GrantType = Literal[
    "client_credentials",
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
]
# Where a client is weaker than FAPI 2.0 asks: named one by one, and shown wherever the client is.
ClientException = Literal["client-secret", "bearer-tokens", "public-client"]


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a client's TLS certificate has to say: exactly one of the names of RFC 8705, or its own thumbprints."""

    subject_dn: str | None = None
    san_dns: str | None = None
    san_uri: str | None = None
    san_ip: str | None = None
    san_email: str | None = None
    thumbprints: tuple[str, ...] = ()


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What people are shown of a client before they allow it anything."""

    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    contacts: tuple[str, ...] = ()
    software_id: str | None = None
    software_version: str | None = None


class OAuthClient(msgspec.Struct, frozen=True, kw_only=True):
    """`binding`: what its tokens are bound to; None only with the exception `bearer-tokens`."""

    id: str
    partner: str
    environment: Environment
    name: str
    authentication: Authentication
    binding: Binding | None
    grants: tuple[GrantType, ...]
    roles: tuple[str, ...]
    created_at: int
    permissions: tuple[str, ...] | None = None
    redirect_uris: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    exceptions: tuple[ClientException, ...] = ()
    keys_url: str | None = None
    certificate: Certificate | None = None
    about: About = About()
    expires_at: int | None = None
    frozen_at: int | None = None
    frozen_reason: str | None = None
    revoked_at: int | None = None
    revoked_reason: str | None = None
    revision: int = 0
    versions: tuple[SecretVersion, ...] = ()


class ClientRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a new client is asked to be. `public_key`: its first one by value, as a JSON Web Key."""

    partner: str
    environment: Environment
    name: str
    authentication: Authentication = "private_key_jwt"
    binding: Binding | None = "dpop"
    grants: tuple[GrantType, ...] = ("client_credentials",)
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None = None
    redirect_uris: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    exceptions: tuple[ClientException, ...] = ()
    public_key: bytes | None = None
    keys_url: str | None = None
    certificate: Certificate | None = None
    about: About = About()
    expires_at: int | None = None


class ClientChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client is to be from now on; what is not set stays. A list replaces the whole list.

    How it authenticates stays for good, and where its keys lie: by value or by URL.
    """

    name: str | UnsetType = UNSET
    binding: Binding | UnsetType | None = UNSET
    grants: tuple[GrantType, ...] | UnsetType = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    permissions: tuple[str, ...] | UnsetType | None = UNSET
    redirect_uris: tuple[str, ...] | UnsetType = UNSET
    cidrs: tuple[str, ...] | UnsetType = UNSET
    exceptions: tuple[ClientException, ...] | UnsetType = UNSET
    keys_url: str | UnsetType = UNSET
    certificate: Certificate | UnsetType = UNSET
    about: About | UnsetType = UNSET
    expires_at: int | UnsetType | None = UNSET


class CreatedClient(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    client: OAuthClient
    version: int | None
    secret: Secret | None


class ClientPage(msgspec.Struct, frozen=True, kw_only=True):
    """`after` is what the next page is asked with; None when this is the last."""

    clients: tuple[OAuthClient, ...]
    after: str | None
