"""OAuth clients of every way to authenticate, with keys of their own: what a partner would hold of them.

`made` registers one with custody and gives back what its partner has: the client, its secret or its private key. The
key pairs are made once and shared: to make an RSA pair takes long, and no test rests on chance in them.
"""

import functools
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import algorithms

from keys.changes import Author
from keys.client_records import Certificate, ClientRequest, OAuthClient
from keys.oauth_clients import OAuthClients
from keys.secret import Secret

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

AUTHOR = Author("operator")
SUBJECT_DN = "CN=client.acme.example,O=Acme Trading,C=CH"
# SHA-256 of nothing, as base64url: the form of a thumbprint.
THUMBPRINT = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"


class MadeClient(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """`private_key` and `kid` of those with keys by value; `secret` of those with one."""

    client: OAuthClient
    secret: Secret | None = None
    private_key: PrivateKey | None = None
    kid: str | None = None

    @property
    def id(self) -> str:
        return self.client.id


@functools.cache
def private_key(algorithm: str = "ES256", number: int = 1) -> PrivateKey:
    """The same one for the same number."""
    match algorithm:
        case "ES256":
            return ec.derive_private_key(0xA11CE000 + number, ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.from_private_bytes(number.to_bytes(32))
        case _:
            return rsa.generate_private_key(65_537, 2_048)


def public_jwk(key: PrivateKey, *, kid: str | None = None, **members: object) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        jwk = algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, rsa.RSAPublicKey):
        jwk = algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        jwk = algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, **({} if kid is None else {"kid": kid}), **members}


def encoded_jwk(key: PrivateKey, *, kid: str | None = None) -> bytes:
    return msgspec.json.encode(public_jwk(key, kid=kid))


def request(**fields: Any) -> ClientRequest:  # noqa: ANN401  whatever a request has
    """A paper client of `acme` for its own services, with an ES256 key, or whatever is asked otherwise."""
    asked: dict[str, Any] = {
        "partner": "acme",
        "environment": "paper",
        "name": "Acme settlement",
        "roles": ("trader",),
    }
    asked |= fields
    if asked.get("authentication", "private_key_jwt") == "private_key_jwt" and "keys_url" not in asked:
        asked.setdefault("public_key", encoded_jwk(private_key(), kid="one"))
    return ClientRequest(**asked)


async def made(
    clients: OAuthClients,
    *,
    algorithm: str = "ES256",
    number: int = 1,
    kid: str = "one",
    **fields: Any,  # noqa: ANN401  whatever a request has
) -> MadeClient:
    """`private_key_jwt` with an own key of that algorithm, unless `authentication` or `keys_url` says otherwise."""
    by_value = (
        fields.get("authentication", "private_key_jwt") == "private_key_jwt" and "keys_url" not in fields
    )
    if not by_value:
        created = await clients.create(request(**fields), author=AUTHOR)
        return MadeClient(client=created.client, secret=created.secret)
    key = private_key(algorithm, number)
    fields.setdefault("public_key", encoded_jwk(key, kid=kid))
    created = await clients.create(request(**fields), author=AUTHOR)
    return MadeClient(client=created.client, private_key=key, kid=kid)


async def made_with_secret(clients: OAuthClients, **fields: Any) -> MadeClient:  # noqa: ANN401  as above
    """Of the legacy tier: `client_secret_basic`, with tokens bound by DPoP unless `binding` is None."""
    exceptions = (
        ("client-secret", "bearer-tokens") if fields.get("binding", "dpop") is None else ("client-secret",)
    )
    asked: dict[str, Any] = {
        "authentication": "client_secret_basic",
        "exceptions": exceptions,
        "roles": ("viewer",),
    }
    return await made(clients, **asked | fields)


async def made_public(clients: OAuthClients, **fields: Any) -> MadeClient:  # noqa: ANN401  as above
    """An app that can keep no secret: `none`, with authorization_code and refresh_token."""
    asked: dict[str, Any] = {
        "authentication": "none",
        "exceptions": ("public-client",),
        "grants": ("authorization_code", "refresh_token"),
        "redirect_uris": ("http://127.0.0.1/done", "com.acme.app:/done"),
        "roles": ("viewer",),
    }
    return await made(clients, **asked | fields)


async def made_for_people(clients: OAuthClients, **fields: Any) -> MadeClient:  # noqa: ANN401  as above
    """A partner's web application: `private_key_jwt`, with authorization_code and refresh_token."""
    asked: dict[str, Any] = {
        "grants": ("authorization_code", "refresh_token", "client_credentials"),
        "redirect_uris": ("https://app.acme.example/done",),
    }
    return await made(clients, **asked | fields)


async def made_by_name(clients: OAuthClients, **fields: Any) -> MadeClient:  # noqa: ANN401  as above
    """`tls_client_auth`, by the subject of its certificate unless `certificate` says otherwise."""
    asked: dict[str, Any] = {
        "authentication": "tls_client_auth",
        "certificate": Certificate(subject_dn=SUBJECT_DN),
        "binding": "mtls",
    }
    return await made(clients, **asked | fields)


async def made_by_certificate(clients: OAuthClients, **fields: Any) -> MadeClient:  # noqa: ANN401  as above
    """`self_signed_tls_client_auth`; give `certificate` with the thumbprint of a real one."""
    asked: dict[str, Any] = {
        "authentication": "self_signed_tls_client_auth",
        "certificate": Certificate(thumbprints=(THUMBPRINT,)),
        "binding": "mtls",
    }
    return await made(clients, **asked | fields)
