"""`POST /oauth/par`: what a client asks for, before a person is sent to the authorization page (RFC 9126)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, post

from auth.oauth.requests import TokenRequest
from gateway.api.oauth import endpoint
from gateway.authorization_server import AuthorizationServer

_CREATED: Final = 201


@post("/oauth/par", status_code=_CREATED)
async def push_request(request: endpoint.AnyRequest) -> Response[bytes]:
    return await endpoint.answer(request, _push, status=_CREATED)


async def _push(server: AuthorizationServer, asked: TokenRequest) -> Mapping[str, Any]:
    authenticated = await server.clients.authenticate(asked)
    proof = authenticated.proof
    pushed = await server.flows.requests.push(
        authenticated.client, asked.form, None if proof is None else proof.jkt
    )
    return {"request_uri": pushed.request_uri, "expires_in": pushed.expires_in_s}
