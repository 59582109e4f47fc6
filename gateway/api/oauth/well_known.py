"""The documents by which clients and resource servers find their way: metadata (RFC 8414, RFC 9728) and public keys."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from litestar.datastructures import CacheControlHeader, State

from auth.oauth import metadata
from gateway.authorization_server import AuthorizationServer
from gateway.routes import NoRoute
from keys.ring import JWKS_MAX_AGE_S

_CACHED = CacheControlHeader(public=True, max_age=JWKS_MAX_AGE_S)


@get([metadata.SERVER, metadata.SERVER + "/{rest:path}"], cache_control=_CACHED, sync_to_thread=False)
def describe_server(state: State, rest: str = "") -> dict[str, Any]:
    offer = _server(state).offer
    if metadata.find_by_path((offer.issuer,), rest) is None:
        raise NoRoute
    return metadata.server(offer)


@get([metadata.RESOURCE, metadata.RESOURCE + "/{rest:path}"], cache_control=_CACHED, sync_to_thread=False)
def describe_resource(state: State, rest: str = "") -> dict[str, Any]:
    offer = _server(state).offer
    identifier = metadata.find_by_path(offer.resources, rest)
    if identifier is None:
        raise NoRoute
    return metadata.resource(offer, identifier)


@get(metadata.KEYS, cache_control=_CACHED, sync_to_thread=False)
def show_keys(state: State) -> Response[dict[str, Any]]:
    return Response({"keys": _server(state).published()}, media_type="application/jwk-set+json")


def _server(state: State) -> AuthorizationServer:
    server: AuthorizationServer = state.gateway.authorization_server
    return server
