"""Access tokens of this gateway's own authorization server: what they say, and what they are good for now.

Invariant: `read` returns only for our type, issuer and one of our audiences; `entitle` only for what is not revoked, of
a client and a partner that may be here now. A token narrows and never widens: its scope is cut down to what its client
may have today, and never reaches the control surface. What is not bound to a key or certificate, and whatever comes of
a client that is weaker than the profile, never trades.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Final, Protocol

from auth import jose
from auth.oauth import token_claims
from auth.oauth.access_keys import AccessKeys
from auth.oauth.access_tokens import TYPE
from auth.oauth.token_claims import Claims, InvalidToken
from keys.client_records import ClientException
from keys.environment import Environment, UnknownEnvironment, parse_environment
from keys.served import Entitlement
from keys.served_clients import ServedClient, ServedPartner
from policies import control
from policies.document import Policies

# No token of ours lives longer.
_LONGEST_MS: Final = 600_000
# A client has one for each scope it asks for, and each set of roles that people have.
_MOST_KEPT: Final = 16_384


class Clients(Protocol):
    def find(self, client_id: str) -> ServedClient | None: ...
    def find_partner(self, partner_id: str) -> ServedPartner | None: ...


class Revocations(Protocol):
    def revoked(self, jti: str, grant: str | None) -> bool: ...


def without_control(permissions: frozenset[str]) -> frozenset[str]:
    return frozenset(each for each in permissions if not each.startswith(control.SCOPE))


def without_trading(policies: Policies, permissions: frozenset[str]) -> frozenset[str]:
    return frozenset(each for each in permissions if not policies.is_trading(frozenset({each})))


class OwnTokens:
    def __init__(  # noqa: PLR0913  whose tokens they are, whom they are for, and what decides about them
        self,
        keys: AccessKeys,
        clients: Clients,
        revocations: Revocations,
        policies: Policies,
        *,
        issuer: str,
        audiences: Collection[str],
    ) -> None:
        self.find_key = keys.find
        self._clients = clients
        self._revoked = revocations.revoked
        self._policies = policies
        self._issuer = issuer
        self._audiences = frozenset(audiences)
        self._entitlement = lru_cache(_MOST_KEPT)(self._work_out)

    def read(self, jws: jose.Jws) -> Claims:
        claims, get_text = jws.claims, token_claims.get_text
        if jws.header.get("typ") != TYPE:
            raise InvalidToken("wrong_type")
        if claims.get("iss") != self._issuer:
            raise InvalidToken("wrong_issuer")
        # One text: a list that merely contains us was also made for somebody else.
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience not in self._audiences:
            raise InvalidToken("wrong_audience")
        issued_ms, expires_ms = token_claims.read_times(claims, _LONGEST_MS)
        jkt, x5t = token_claims.read_binding(claims)
        grant = token_claims.find_text(claims, "grant")
        if grant is None and claims.get("sub") != claims.get("client_id"):
            # Whoever speaks for a person has been allowed to, and says by what.
            raise InvalidToken("bad_claims")
        return Claims(
            issuer=self._issuer,
            kid=jws.kid,
            subject=get_text(claims, "sub"),
            client_id=get_text(claims, "client_id"),
            jti=get_text(claims, "jti"),
            issued_ms=issued_ms,
            expires_ms=expires_ms,
            environment=_environment(get_text(claims, "env")),
            scope=token_claims.read_scope(claims),
            jkt=jkt,
            x5t=x5t,
            grant=grant,
            partner=None if grant is None else get_text(claims, "partner"),
            roles=None if grant is None else token_claims.read_names(claims.get("roles")),
        )

    def entitle(self, claims: Claims, now_ms: int) -> Entitlement:
        if self._revoked(claims.jti, claims.grant):
            raise InvalidToken("revoked")
        client = self._clients.find(claims.client_id)
        if client is None:
            raise InvalidToken("unknown_client")
        if now_ms >= client.refused_from:
            raise InvalidToken("partner_refused" if client.partner_frozen else "client_refused")
        if client.environment != claims.environment:
            raise InvalidToken("wrong_environment")
        if claims.jkt is None and claims.x5t is None and "bearer-tokens" not in client.exceptions:
            raise InvalidToken("not_bound")
        partner, tier = client.partner, client.tier
        if claims.partner is not None and claims.partner != partner:
            found = self._clients.find_partner(claims.partner)
            if found is None or found.frozen:
                raise InvalidToken("partner_refused")
            partner, tier = found.id, found.tier
        return self._entitlement(
            client.entitlement, client.exceptions, claims.scope or frozenset(), claims.roles, partner, tier
        )

    def _work_out(  # noqa: PLR0913, PLR0917  all that it depends on, as the key it is kept by
        self,
        of_client: Entitlement,
        exceptions: frozenset[ClientException],
        scope: frozenset[str],
        roles: tuple[str, ...] | None,
        partner: str,
        tier: str,
    ) -> Entitlement:
        allowed = self._policies.permissions_of(of_client.roles, of_client.permissions)
        narrowed = without_control(scope & allowed)
        if exceptions:
            narrowed = without_trading(self._policies, narrowed)
        return Entitlement(
            of_client.id,
            partner,
            tier,
            of_client.environment,
            of_client.roles if roles is None else roles,
            tuple(sorted(narrowed)),
            of_client.networks,
        )


def _environment(text: str) -> Environment:
    try:
        return parse_environment(text)
    except UnknownEnvironment:
        raise InvalidToken("wrong_environment") from None
