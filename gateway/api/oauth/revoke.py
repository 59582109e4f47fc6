"""`POST /oauth/revoke`: a client ends a token of its own (RFC 7009). Whatever else it sends is as good as ended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from litestar import Response, post

from auth.oauth import errors
from auth.oauth.requests import TokenRequest
from gateway.api.oauth import endpoint
from gateway.authorization_server import AuthorizationServer
from keys.changes import Author
from storage.engine import StorageUnavailable


@post("/oauth/revoke", status_code=200)
async def revoke(request: endpoint.AnyRequest) -> Response[bytes]:
    return await endpoint.answer(request, _revoke)


async def _revoke(server: AuthorizationServer, asked: TokenRequest) -> Mapping[str, Any]:
    client = (await server.clients.authenticate(asked)).client
    presented = asked.form.get("token")
    if presented is None:
        raise errors.invalid_request("The token is missing.")
    author = Author(f"client:{client.id}", source=asked.source, request_id=asked.request_id)
    await server.issued.revoke(client, presented, author, asked.now_ms)
    with suppress(StorageUnavailable):
        # The others follow within a second; whoever has been answered here need not wait for that here.
        await server.revocations.refresh()
    return {}
