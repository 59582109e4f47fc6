"""Builds what verifies access tokens on routes: of our own authorization server, and of issuers that are trusted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from auth import bearer, dpop
from auth.oauth import issuers
from auth.oauth.access_keys import AccessKeys
from auth.oauth.own_tokens import Clients, OwnTokens, Revocations
from gateway import clocks
from gateway.issuer_keys import IssuerKeys
from gateway.jwks_fetcher import FetchRules, JwksFetcher
from gateway.settings import IssuerSettings, Settings
from gateway.settings.addresses import parse_target_network
from gateway.settings.issuer_checks import read_key_file
from gateway.upstream import TlsSettingsRefused, client_context
from gateway.webhooks import resolving
from keys.ring import Ring


def build_fetcher(settings: Settings) -> JwksFetcher:
    oauth = settings.oauth
    try:
        tls = client_context(ca_file=None if oauth.key_ca_file is None else Path(oauth.key_ca_file))
    except TlsSettingsRefused as refused:
        raise TlsSettingsRefused(f"oauth: {refused}") from refused
    networks = tuple(parse_target_network(text) for text in oauth.key_networks)
    return JwksFetcher(FetchRules(networks=networks), resolving.resolve, tls)


def build_issuer_keys(settings: Settings, fetcher: JwksFetcher) -> dict[str, IssuerKeys]:
    """Of those issuers whose keys are fetched."""
    return {
        each.issuer: IssuerKeys(
            each.issuer,
            each.jwks_url,
            fetcher,
            algorithms=each.algorithms,
            max_age_ms=each.max_age_ms,
            monotonic_ms=clocks.monotonic_ms,
        )
        for each in settings.oauth.issuers
        if each.jwks_url is not None
    }


def build_authenticator(  # noqa: PLR0913  what is served, what is fetched, and what was remembered
    settings: Settings,
    ring: Ring,
    clients: Clients,
    revocations: Revocations,
    fetched: dict[str, IssuerKeys],
    *,
    nonces: dpop.Nonces,
    remembers_since_ms: int,
) -> bearer.TokenAuthenticator:
    own, oauth = settings.service.issuer, settings.oauth
    sources: dict[str, bearer.Source] = {
        own: OwnTokens(
            AccessKeys(ring),
            clients,
            revocations,
            settings.policies,
            issuer=own,
            audiences=resources(settings),
        )
    }
    for each in oauth.issuers:
        keys = fetched.get(each.issuer) or issuers.FixedKeys(read_key_file(each))
        sources[each.issuer] = issuers.ExternalTokens(_terms(each), keys, clients, settings.policies)
    rules = bearer.Rules(origins(settings), nonces if oauth.route_nonces else None, remembers_since_ms)
    return bearer.TokenAuthenticator(sources, rules)


def resources(settings: Settings) -> tuple[str, ...]:
    return settings.oauth.resources or (settings.service.issuer,)


def origins(settings: Settings) -> tuple[str, ...]:
    """As a proof's URI begins, in its one spelling."""
    oauth = settings.oauth
    named: Iterable[str] = (settings.service.issuer, *oauth.resources, *oauth.origins)
    found = [_origin(each) for each in named]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _origin(url: str) -> str | None:
    """None of a resource that is named by something else than an address."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return None
    return dpop.normalise_uri(f"{parts.scheme}://{parts.netloc}").removesuffix("/")


def _terms(issuer: IssuerSettings) -> issuers.Terms:
    return issuers.Terms(
        issuer=issuer.issuer,
        audience=issuer.audience,
        partner=issuer.partner,
        environment=issuer.environment,
        claim=issuer.claim,
        roles=issuer.roles,
        types=issuer.types,
        bearer=issuer.bearer,
    )
