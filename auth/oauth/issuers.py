"""Access tokens of another company's authorization server, trusted by configuration, and what they come to here.

Invariant: an issuer speaks for one partner in one environment, and gives only those roles of ours that its
configuration maps its own to. Whoever has none of them is refused. Its algorithms, its types and its audience are
configured; its keys come from where the configuration says, never from a token, and are asked for in memory: a key that
is not known makes its source look again, and nobody wait. What is not bound to a key or certificate passes only where
the issuer may have such, and never trades.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

from auth import jose
from auth.oauth import own_tokens, token_claims
from auth.oauth.own_tokens import Clients
from auth.oauth.token_claims import Claims, InvalidToken
from keys.environment import Environment
from keys.served import Entitlement
from keys.served_clients import ServedPartner
from policies.document import Policies

_LONGEST_MS: Final = 86_400_000
_MOST_AUDIENCES: Final = 16
_MOST_KEPT: Final = 16_384


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`claim` names what `roles` maps from. `types`: what `typ` may be. `bearer`: whether tokens may be unbound."""

    issuer: str
    audience: str
    partner: str
    environment: Environment
    claim: str
    roles: Mapping[str, tuple[str, ...]]
    types: tuple[str, ...]
    bearer: bool


class Keys(Protocol):
    """An issuer's keys, in memory. Asked for one that it does not know, it may look again, later."""

    def find(self, kid: str | None, now_ms: int) -> jose.VerificationKey | None: ...


class FixedKeys:
    """Read once, from a file."""

    def __init__(self, keys: tuple[jose.VerificationKey, ...]) -> None:
        self._keys = keys

    def find(self, kid: str | None, now_ms: int) -> jose.VerificationKey | None:  # noqa: ARG002  they never age
        return select(self._keys, kid)


def select(keys: tuple[jose.VerificationKey, ...], kid: str | None) -> jose.VerificationKey | None:
    """By its id; where a token names none, the only key there is."""
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.kid == kid), None)


class ExternalTokens:
    def __init__(self, terms: Terms, keys: Keys, clients: Clients, policies: Policies) -> None:
        self.find_key = keys.find
        self._terms = terms
        self._clients = clients
        self._policies = policies
        self._entitlement = lru_cache(_MOST_KEPT)(self._work_out)

    def read(self, jws: jose.Jws) -> Claims:
        terms, claims = self._terms, jws.claims
        # The media type may be written out, and its letters in any case.
        kind = str(jws.header.get("typ", "")).lower().removeprefix("application/")
        if kind not in {each.lower() for each in terms.types}:
            raise InvalidToken("wrong_type")
        if claims.get("iss") != terms.issuer:
            raise InvalidToken("wrong_issuer")
        _require_audience(claims.get("aud"), terms.audience)
        issued_ms, expires_ms = token_claims.read_times(claims, _LONGEST_MS)
        jkt, x5t = token_claims.read_binding(claims)
        subject = token_claims.get_text(claims, "sub")
        return Claims(
            issuer=terms.issuer,
            kid=jws.kid,
            subject=subject,
            client_id=f"{terms.issuer}#{subject}",
            jti=token_claims.find_text(claims, "jti") or "",
            issued_ms=issued_ms,
            expires_ms=expires_ms,
            environment=terms.environment,
            scope=None,
            jkt=jkt,
            x5t=x5t,
            partner=terms.partner,
            roles=self._roles_of(claims),
        )

    def entitle(self, claims: Claims, now_ms: int) -> Entitlement:  # noqa: ARG002  nothing of it depends on the hour
        is_bound = claims.jkt is not None or claims.x5t is not None
        if not is_bound and not self._terms.bearer:
            raise InvalidToken("not_bound")
        partner = self._clients.find_partner(self._terms.partner)
        if partner is None or partner.frozen:
            raise InvalidToken("partner_refused")
        return self._entitlement(claims.client_id, claims.roles or (), partner, is_bound)

    def _work_out(
        self, id_: str, roles: tuple[str, ...], partner: ServedPartner, is_bound: bool
    ) -> Entitlement:
        allowed = own_tokens.without_control(self._policies.permissions_of(roles, None))
        if not is_bound:
            allowed = own_tokens.without_trading(self._policies, allowed)
        environment = self._terms.environment
        return Entitlement(id_, partner.id, partner.tier, environment, roles, tuple(sorted(allowed)), ())

    def _roles_of(self, claims: dict[str, Any]) -> tuple[str, ...]:
        """The claim is a list of names, or names with blanks between."""
        value = claims.get(self._terms.claim, [])
        theirs = tuple(value.split()) if isinstance(value, str) else token_claims.read_names(value)
        ours = {role for each in theirs for role in self._terms.roles.get(each, ())}
        if not ours:
            raise InvalidToken("no_role")
        return tuple(sorted(ours))


def _require_audience(value: object, ours: str) -> None:
    """Others write lists: there it is enough to be in it, since whom an issuer speaks to is its own to say."""
    listed = value if isinstance(value, list) else [value]
    if len(listed) > _MOST_AUDIENCES or ours not in listed:
        raise InvalidToken("wrong_audience")
