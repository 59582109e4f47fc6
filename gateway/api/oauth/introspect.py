"""`POST /oauth/introspect`: what a client's own token is good for (RFC 7662)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Response, post

from auth.oauth import errors
from auth.oauth.requests import TokenRequest
from gateway.api.oauth import endpoint
from gateway.authorization_server import AuthorizationServer


@post("/oauth/introspect", status_code=200)
async def introspect(request: endpoint.AnyRequest) -> Response[bytes]:
    return await endpoint.answer(request, _introspect)


async def _introspect(server: AuthorizationServer, asked: TokenRequest) -> Mapping[str, Any]:
    authenticated = await server.clients.authenticate(asked)
    if authenticated.method == "none":
        raise errors.unauthorized_client("Only a client that can prove who it is may ask about tokens.")
    presented = asked.form.get("token")
    if presented is None:
        raise errors.invalid_request("The token is missing.")
    return await server.issued.introspect(authenticated.client, presented, asked.now_ms)
