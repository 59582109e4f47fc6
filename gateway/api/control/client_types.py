"""What is asked and told of OAuth clients: the types of their endpoints, and what is made of a client for an answer.

Invariant: no answer but `MadeClient` has a place for a secret. When a client last proved itself is not told here: it
changes without the client being changed, so an `ETag` could not speak for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.api.control import jwk_types, types
from gateway.api.control.jwk_types import Jwk
from gateway.api.control.key_types import Cidrs, Permissions, Roles
from gateway.api.control.rules import PREFIX
from keys import client_records, client_requests, records
from keys.environment import Environment

_Uri = Annotated[str, Meta(pattern="^[!-~]{1,2048}$")]
_Line = Annotated[str, Meta(min_length=1, max_length=1024)]
_Grants = Annotated[tuple[client_records.GrantType, ...], Meta(min_length=1, max_length=4)]
_Exceptions = Annotated[tuple[client_records.ClientException, ...], Meta(max_length=3)]
_RedirectUris = Annotated[tuple[_Uri, ...], Meta(max_length=16)]
_Thumbprint = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$", description="SHA-256 as base64url")]
_RENAMED: Final = {"jwks_url": "keys_url"}


class Certificate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tls_client_auth` goes by exactly one of the names, `self_signed_tls_client_auth` by thumbprints."""

    subject_dn: _Line | None = None
    san_dns: _Line | None = None
    san_uri: _Line | None = None
    san_ip: _Line | None = None
    san_email: _Line | None = None
    thumbprints: Annotated[tuple[_Thumbprint, ...], Meta(max_length=4)] = ()


class About(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What people are shown before they allow a client anything."""

    client_uri: _Uri | None = None
    logo_uri: _Uri | None = None
    policy_uri: _Uri | None = None
    tos_uri: _Uri | None = None
    contacts: Annotated[tuple[_Line, ...], Meta(max_length=8)] = ()
    software_id: types.Text | None = None
    software_version: types.Text | None = None


class ClientCreation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`jwk` or `jwks_url`, and never both, with `private_key_jwt`. `binding`: absent, it is `dpop`, or `mtls` for those
    that authenticate by a certificate; null takes the exception `bearer-tokens`. `permissions` narrows what the roles
    grant; null leaves it as it is.
    """

    partner: types.PartnerId
    environment: Environment
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    authentication: client_records.Authentication = "private_key_jwt"
    binding: client_records.Binding | UnsetType | None = UNSET
    grants: _Grants = ("client_credentials",)
    roles: Roles
    permissions: Permissions | None = None
    redirect_uris: _RedirectUris = ()
    cidrs: Cidrs = ()
    exceptions: _Exceptions = ()
    jwk: Jwk | None = None
    jwks_url: _Uri | None = None
    certificate: Certificate | None = None
    about: About = About()
    expires_at: types.Moment | None = None
    reason: types.Reason | None = None


class ClientPatch(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is absent stays. A list and what is shown to people replace the whole; null clears: no narrowing, no end, no
    binding. How a client authenticates stays for good; its keys and secrets are rotated (`/secrets/{secret_id}`).
    """

    name: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    binding: client_records.Binding | UnsetType | None = UNSET
    grants: _Grants | UnsetType = UNSET
    roles: Roles | UnsetType = UNSET
    permissions: Permissions | UnsetType | None = UNSET
    redirect_uris: _RedirectUris | UnsetType = UNSET
    cidrs: Cidrs | UnsetType = UNSET
    exceptions: _Exceptions | UnsetType = UNSET
    jwks_url: _Uri | UnsetType = UNSET
    certificate: Certificate | UnsetType = UNSET
    about: About | UnsetType = UNSET
    expires_at: types.Moment | UnsetType | None = UNSET
    reason: types.Reason | None = None


class ClientVersion(Struct, frozen=True, kw_only=True):
    """Of its secret, or, with a `jwk`, of its public keys."""

    version: int
    state: records.VersionState
    jwk: Jwk | None
    created_at: types.Moment
    activates_at: types.Moment | None
    activated_at: types.Moment | None
    retiring_at: types.Moment | None
    retires_at: types.Moment | None
    revoked_at: types.Moment | None
    destroyed_at: types.Moment | None


class Client(Struct, frozen=True, kw_only=True):
    """`exceptions`: where it is weaker than FAPI 2.0, all of it."""

    id: str
    partner: str
    environment: Environment
    name: str
    authentication: client_records.Authentication
    binding: client_records.Binding | None
    exceptions: tuple[client_records.ClientException, ...]
    grants: tuple[client_records.GrantType, ...]
    redirect_uris: tuple[str, ...]
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    cidrs: tuple[str, ...]
    jwks_url: str | None
    certificate: Certificate | None
    about: About
    created_at: types.Moment
    expires_at: types.Moment | None
    frozen_at: types.Moment | None
    frozen_reason: str | None
    revoked_at: types.Moment | None
    revoked_reason: str | None
    versions: tuple[ClientVersion, ...]


class MadeClient(Struct, frozen=True, kw_only=True):
    """`secret` stands in the first answer alone; `secret_shown` says that an earlier one had it. `version`: of its
    secret or its key; null where neither lies here.
    """

    client: Client
    version: int | None
    secret: str | None
    secret_shown: bool

    def __repr__(self) -> str:
        return f"MadeClient({self.client.id})"


class ClientList(Struct, frozen=True, kw_only=True):
    items: tuple[Client, ...]
    next: str | None


class ClientQuery(types.Paging, frozen=True, forbid_unknown_fields=True, kw_only=True):
    partner: types.PartnerId | UnsetType = UNSET
    environment: Environment | UnsetType = UNSET


SAMPLE: Final = Client(
    id="prc_paper_2Yk4Nq0cJ8mVtXwR5sLbZe0PZ1Ma",
    partner="acme",
    environment="paper",
    name="Acme settlement",
    authentication="private_key_jwt",
    binding="dpop",
    exceptions=(),
    grants=("client_credentials",),
    redirect_uris=(),
    roles=("trader",),
    permissions=None,
    cidrs=("203.0.113.0/24",),
    jwks_url=None,
    certificate=None,
    about=About(contacts=("security@acme.example",)),
    created_at=1_763_596_800_000,
    expires_at=None,
    frozen_at=None,
    frozen_reason=None,
    revoked_at=None,
    revoked_reason=None,
    versions=(
        ClientVersion(
            version=1,
            state="active",
            jwk=jwk_types.SAMPLE,
            created_at=1_763_596_800_000,
            activates_at=None,
            activated_at=1_763_596_800_000,
            retiring_at=None,
            retires_at=None,
            revoked_at=None,
            destroyed_at=None,
        ),
    ),
)
SAMPLE_LIST: Final = ClientList(
    items=(SAMPLE,), next=f"{PREFIX}/clients?limit=1&after=WyJsaXN0X2NsaWVudHMiLCJwcmMiXQ=="
)
SAMPLE_FROZEN: Final = structs.replace(SAMPLE, frozen_at=1_763_596_900_000, frozen_reason="a test of ours")
SAMPLE_REVOKED: Final = structs.replace(
    SAMPLE, revoked_at=1_763_596_900_000, revoked_reason="the contract has ended"
)
SAMPLE_CREATION: Final = ClientCreation(
    partner="acme",
    environment="paper",
    name="Acme settlement",
    roles=("trader",),
    cidrs=("203.0.113.0/24",),
    jwk=jwk_types.SAMPLE,
    about=About(contacts=("security@acme.example",)),
)
SAMPLE_PATCH: Final = ClientPatch(
    cidrs=("203.0.113.0/25",), name="Acme settlement, Zurich", reason="moved to one half of the network"
)
SAMPLE_CHANGED: Final = structs.replace(SAMPLE, cidrs=("203.0.113.0/25",), name="Acme settlement, Zurich")
SAMPLE_MADE: Final = MadeClient(client=SAMPLE, version=1, secret=None, secret_shown=False)


def request_of(asked: ClientCreation) -> client_records.ClientRequest:
    own = _own(asked, client_records.ClientRequest)
    if asked.binding is UNSET:
        own["binding"] = client_requests.default_binding(asked.authentication)
    return client_records.ClientRequest(
        **own, public_key=None if asked.jwk is None else jwk_types.encode(asked.jwk)
    )


def change_of(asked: ClientPatch) -> client_records.ClientChange:
    return client_records.ClientChange(**_own(asked, client_records.ClientChange))


def view(client: client_records.OAuthClient) -> Client:
    given = {
        name: getattr(client, _RENAMED.get(name, name))
        for name in Client.__struct_fields__
        if name not in {"versions", "certificate", "about"}
    }
    return Client(
        **given,
        certificate=None
        if client.certificate is None
        else msgspec.convert(msgspec.structs.asdict(client.certificate), Certificate),
        about=msgspec.convert(msgspec.structs.asdict(client.about), About),
        versions=tuple(_view_version(version) for version in client.versions),
    )


def _own(asked: ClientCreation | ClientPatch, kind: type[Struct]) -> dict[str, Any]:
    """Under the names that custody has for it."""
    own = {_RENAMED.get(name, name): getattr(asked, name) for name in asked.__struct_fields__}
    own = {
        name: value for name, value in own.items() if name in kind.__struct_fields__ and value is not UNSET
    }
    for name, its_kind in (("certificate", client_records.Certificate), ("about", client_records.About)):
        if isinstance(own.get(name), Struct):
            own[name] = its_kind(**msgspec.structs.asdict(own[name]))
    return own


def _view_version(version: records.SecretVersion) -> ClientVersion:
    own = {name: getattr(version, name) for name in ClientVersion.__struct_fields__ if name != "jwk"}
    return ClientVersion(
        **own, jwk=None if version.public_key is None else jwk_types.view(version.public_key)
    )
