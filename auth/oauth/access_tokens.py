"""Access tokens: short signed statements (RFC 9068) about who may do what here, for one audience, in one environment.

Invariant: every one names its audience as one string, its client, its environment and the permissions it is narrowed
to, has an id of its own, and is signed by the access ring's current key, whose id stands in its header. One that is
bound says so (`cnf`), and its type in the answer says how it is presented. Nothing of it is kept: what must not be used
any more is remembered by its id.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from auth import jose
from keys.secret import Secret
from keys.served_clients import ServedClient

TYPE: Final = "at+jwt"
_JTI_BYTES: Final = 16


class Signer(Protocol):
    """The current key of the access ring, as `keys.ring.Ring.get_signer` gives it."""

    @property
    def kid(self) -> str: ...
    @property
    def private_key(self) -> jose.PrivateKey: ...


class PersonSubject(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf a client acts. `methods`: how they signed in (RFC 8176); `grant`: what they allowed it by."""

    account_id: str
    partner: str
    roles: tuple[str, ...]
    grant: str
    authenticated_at: int
    methods: tuple[str, ...]


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    value: Secret
    jti: str
    token_type: str
    expires_at: int
    expires_in: int
    scope: str

    def answer(self) -> dict[str, Any]:
        """The members of RFC 6749, for the response alone."""
        return {
            "access_token": self.value.reveal(),
            "token_type": self.token_type,
            "expires_in": self.expires_in,
            "scope": self.scope,
        }


class AccessTokens:
    def __init__(
        self,
        get_signer: Callable[[], Signer],
        issuer: str,
        *,
        entropy: Callable[[int], bytes],
        lifetime_ms: int,
    ) -> None:
        self._get_signer = get_signer
        self._issuer = issuer
        self._entropy = entropy
        self._lifetime_s = lifetime_ms // 1000

    def require_signer(self) -> None:
        """Raises where nothing can be signed now."""
        self._get_signer()

    def issue(  # noqa: PLR0913  each is something a token says, by keyword
        self,
        *,
        client: ServedClient,
        scope: Iterable[str],
        resource: str,
        now_ms: int,
        jkt: str | None = None,
        x5t: str | None = None,
        subject: PersonSubject | None = None,
    ) -> IssuedToken:
        """`jkt`, `x5t`: what it is bound to, a DPoP key or a certificate."""
        signer, written = self._get_signer(), " ".join(sorted(scope))
        issued_at = now_ms // 1000
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": resource,
            "sub": client.id,
            "client_id": client.id,
            "iat": issued_at,
            "exp": issued_at + self._lifetime_s,
            "jti": base64.urlsafe_b64encode(self._entropy(_JTI_BYTES)).rstrip(b"=").decode(),
            "scope": written,
            "env": client.environment,
        }
        claims |= _binding(jkt, x5t) | _person(subject)
        value = jose.sign({"typ": TYPE, "kid": signer.kid}, claims, signer.private_key)
        return IssuedToken(
            value=Secret(value),
            jti=claims["jti"],
            token_type="DPoP" if jkt is not None else "Bearer",
            expires_at=claims["exp"] * 1000,
            expires_in=self._lifetime_s,
            scope=written,
        )


def _binding(jkt: str | None, x5t: str | None) -> dict[str, Any]:
    if jkt is not None:
        return {"cnf": {"jkt": jkt}}
    return {} if x5t is None else {"cnf": {"x5t#S256": x5t}}


def _person(subject: PersonSubject | None) -> dict[str, Any]:
    if subject is None:
        return {}
    return {
        "sub": subject.account_id,
        "partner": subject.partner,
        "roles": list(subject.roles),
        "grant": subject.grant,
        "auth_time": subject.authenticated_at // 1000,
        "amr": list(subject.methods),
    }
