"""The authorization server put together from the settings and what a node serves from: the parts that endpoints ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from secrets import token_bytes
from typing import Final

import msgspec

from auth import dpop
from auth.oauth import bridge, flows, person_grants
from auth.oauth.access_tokens import AccessTokens
from auth.oauth.admissions import Admissions, Throttle
from auth.oauth.client_authentication import ClientAuthentication
from auth.oauth.client_credentials import ClientCredentials
from auth.oauth.client_keys import ClientKeys
from auth.oauth.decoys import Decoys
from auth.oauth.grants import OAuthGrants
from auth.oauth.ground import Ground
from auth.oauth.issued_tokens import IssuedTokens
from auth.oauth.metadata import Offer
from auth.oauth.possession import Proofs
from auth.oauth.revocations import ServedRevocations
from auth.oauth.terms import Terms
from gateway import client_certificates, clocks, composition, tokens
from gateway.settings import Settings
from keys.changes import Changes, Clock
from keys.ring import Ring
from keys.signing_keys import Jwk
from policies import control

_NONCE_LABEL: Final = b"portreeve dpop nonces"


class AuthorizationServer(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`published`: the public keys of access tokens."""

    tokens: bridge.Server
    clients: ClientAuthentication
    access_tokens: AccessTokens
    issued: IssuedTokens
    revocations: ServedRevocations
    grants: OAuthGrants
    flows: flows.Flows
    proofs: Proofs
    terms: Terms
    offer: Offer
    published: Callable[[], Sequence[Jwk]]


def build(
    configured: Settings, node: composition.Node, clock: Clock, remembers_since_ms: Callable[[], int]
) -> AuthorizationServer:
    """`remembers_since_ms`: what was used once before that may be unknown here."""
    store, ring = node.store, node.store.access_ring
    terms = build_terms(configured)
    proofs = Proofs(build_nonces(ring, clock))
    clients = _build_clients(configured, node, proofs, remembers_since_ms)
    access_tokens = AccessTokens(
        ring.get_signer, terms.issuer, entropy=token_bytes, lifetime_ms=terms.access_ms
    )
    changes = Changes(store.engine, store.wakeup, clock)
    grants = OAuthGrants(store.engine, changes)
    yes = _build_flows(configured, node, changes, clock, terms)
    server = bridge.Server(clients)
    server.register(ClientCredentials, policies=configured.policies, terms=terms, access_tokens=access_tokens)
    for grant in person_grants.ALL:
        server.register(grant, flows=yes, access_tokens=access_tokens)
    return AuthorizationServer(
        tokens=server,
        clients=clients,
        access_tokens=access_tokens,
        issued=IssuedTokens(store.engine, changes, grants, ring.jwks, terms.issuer),
        revocations=node.revocations,
        grants=grants,
        flows=yes,
        proofs=proofs,
        terms=terms,
        offer=_build_offer(configured, terms, server.grant_types),
        published=ring.jwks,
    )


def build_nonces(ring: Ring, clock: Clock) -> dpop.Nonces:
    """All nodes have the ring, so that all of them make and take the same ones."""
    return dpop.Nonces(lambda: ring.derive(_NONCE_LABEL), clock)


def build_terms(configured: Settings) -> Terms:
    issuer, oauth = configured.service.issuer, configured.oauth
    return Terms(
        issuer=issuer,
        resources=oauth.resources or (issuer,),
        request_ms=oauth.request_lifetime_ms,
        code_ms=oauth.code_lifetime_ms,
        refresh_ms=oauth.refresh_lifetime_ms,
        device_ms=oauth.device_lifetime_ms,
        access_ms=oauth.lifetime_ms,
    )


def _build_flows(
    configured: Settings, node: composition.Node, changes: Changes, clock: Clock, terms: Terms
) -> flows.Flows:
    ground = Ground(
        engine=node.store.engine,
        changes=changes,
        clients=node.clients,
        policies=configured.policies,
        admission=node.admission,
        clock=clock,
        entropy=token_bytes,
        terms=terms,
    )
    return flows.build(ground)


def _build_clients(
    configured: Settings, node: composition.Node, proofs: Proofs, remembers_since_ms: Callable[[], int]
) -> ClientAuthentication:
    by_source = configured.oauth.source_limit.as_limit("oauth-source")
    by_client = configured.oauth.client_limit.as_limit("oauth-client")
    return ClientAuthentication(
        node.clients,
        ClientKeys(tokens.build_fetcher(configured), clocks.monotonic_ms),
        Decoys(token_bytes),
        Throttle(by_source, by_client, clocks.monotonic_us),
        Admissions(node.admission, by_client),
        proofs,
        issuer=configured.service.issuer,
        remembers_since_ms=remembers_since_ms,
    )


def _build_offer(configured: Settings, terms: Terms, grant_types: tuple[str, ...]) -> Offer:
    scopes = sorted(name for name in configured.policies.permissions if not name.startswith(control.SCOPE))
    return Offer(
        issuer=terms.issuer,
        resources=terms.resources,
        scopes=tuple(scopes),
        grant_types=grant_types,
        docs=configured.service.docs_base,
        certificates=client_certificates.can_be_seen(configured),
        registration=configured.oauth.registration,
    )
