"""The documents by which clients and resource servers find their way: metadata (RFC 8414, RFC 9728) and public keys."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from litestar.datastructures import State
from litestar.params import FromPath

from auth.oauth import metadata
from gateway.authorization_server import AuthorizationServer
from gateway.routes import NoRoute
from keys.ring import JWKS_MAX_AGE_S

Document = Response[dict[str, Any]]


@get([metadata.SERVER, metadata.SERVER + "/{rest:path}"], sync_to_thread=False)
def describe_server(state: State, rest: FromPath[str] = "") -> Document:
    offer = _server(state).offer
    if metadata.find_by_path((offer.issuer,), rest) is None:
        raise NoRoute
    return _cached(metadata.server(offer))


@get([metadata.RESOURCE, metadata.RESOURCE + "/{rest:path}"], sync_to_thread=False)
def describe_resource(state: State, rest: FromPath[str] = "") -> Document:
    offer = _server(state).offer
    identifier = metadata.find_by_path(offer.resources, rest)
    if identifier is None:
        raise NoRoute
    return _cached(metadata.resource(offer, identifier))


@get(metadata.KEYS, sync_to_thread=False)
def show_keys(state: State) -> Document:
    return _cached({"keys": _server(state).published()}, "application/jwk-set+json")


def _cached(document: dict[str, Any], media_type: str = "application/json") -> Document:
    headers = {"Cache-Control": f"public, max-age={JWKS_MAX_AGE_S}"}
    return Response(document, media_type=media_type, headers=headers)


def _server(state: State) -> AuthorizationServer:
    server: AuthorizationServer = state.gateway.authorization_server
    return server
