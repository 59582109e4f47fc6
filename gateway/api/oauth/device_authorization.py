"""`POST /oauth/device_authorization`: a program without a browser asks for its person's yes (RFC 8628)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Response, post

from auth.oauth import metadata
from auth.oauth.requests import TokenRequest
from gateway.api.oauth import endpoint
from gateway.authorization_server import AuthorizationServer

PAGE = "/oauth/device"


@post("/oauth/device_authorization", status_code=200)
async def authorize_device(request: endpoint.AnyRequest) -> Response[bytes]:
    return await endpoint.answer(request, _begin)


async def _begin(server: AuthorizationServer, asked: TokenRequest) -> Mapping[str, Any]:
    authenticated = await server.clients.authenticate(asked)
    proof = authenticated.proof
    begun = await server.flows.devices.begin(
        authenticated.client, asked.form, None if proof is None else proof.jkt
    )
    page = metadata.address(server.terms.issuer, PAGE)
    return {
        "device_code": begun.device_code.reveal(),
        "user_code": begun.user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?user_code={begun.user_code}",
        "expires_in": begun.expires_in_s,
        "interval": begun.interval_s,
    }
