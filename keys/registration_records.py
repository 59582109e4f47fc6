"""What lets somebody register OAuth clients without an operator: initial access tokens (RFC 7591). None of these values
holds a secret, but for the two that carry a new one to whoever asked for it, once, wrapped.
"""

import msgspec

from keys.client_records import OAuthClient
from keys.environment import Environment
from keys.secret import Secret


class RegistrationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`roles`: of every client that comes by it. `uses`: how many may."""

    partner: str
    environment: Environment
    roles: tuple[str, ...]
    uses: int = 1
    expires_at: int


class RegistrationToken(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    partner: str
    environment: Environment
    roles: tuple[str, ...]
    uses_left: int
    created_at: int
    expires_at: int
    revoked_at: int | None = None


class CreatedRegistrationToken(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    registration: RegistrationToken
    secret: Secret


class RegisteredClient(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`access`: what the client leads itself by (RFC 7592)."""

    client: OAuthClient
    access: Secret
