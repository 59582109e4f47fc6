"""`POST /oauth/token`: where grants become access tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Response, post

from auth.oauth.requests import TokenRequest
from gateway.api.oauth import endpoint
from gateway.authorization_server import AuthorizationServer


@post("/oauth/token", status_code=200)
async def issue_tokens(request: endpoint.AnyRequest) -> Response[bytes]:
    return await endpoint.answer(request, _issue)


async def _issue(server: AuthorizationServer, asked: TokenRequest) -> Mapping[str, Any]:
    return (await server.tokens.respond(asked)).body
