"""What the endpoints share that clients ask themselves: a request read from HTTP, and an answer written to it.

Invariant: every answer is JSON that nobody may keep, refusals in the form of RFC 6749. The log line of a request names
its client once the client has proved who it is, and a refusal's reason, which is told nobody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from auth.oauth import errors, metadata
from auth.oauth.refusals import Refused
from auth.oauth.requests import TokenRequest
from gateway import client_certificates, forms
from gateway.authorization_server import AuthorizationServer
from gateway.runtime import Gateway
from gateway.sources import parse_source
from gateway.trace import Trace
from keys.ring import RingUnusable
from keys.served_clients import ServedClient
from storage.engine import StorageUnavailable

AnyRequest = Request[Any, Any, Any]
Ask = Callable[[AuthorizationServer, TokenRequest], Awaitable[Mapping[str, Any]]]

_TOO_LARGE: Final = 413
_ENCODER: Final = msgspec.json.Encoder()


async def answer(request: AnyRequest, ask: Ask, *, status: int = 200) -> Response[bytes]:
    gateway: Gateway = request.app.state.gateway
    try:
        asked = await read(request, gateway)
        body = await _asked(gateway, ask, asked)
    except errors.OAuthError as refused:
        return refuse(request, refused)
    proofs = gateway.authorization_server.proofs
    # Whoever shows proofs is given the nonce for the next one, and needs not be refused first.
    headers = {"DPoP-Nonce": proofs.current_nonce()} if asked.dpop else {}
    return respond(body, status, headers)


async def read(request: AnyRequest, gateway: Gateway) -> TokenRequest:
    if gateway.client_age_ms() > gateway.settings.keys.staleness_bound_ms:
        # What was revoked meanwhile is not known here.
        raise errors.unavailable("key_store_stale")
    headers, scope = request.headers, request.scope
    forms.require_form(headers.get("content-type"), headers.get("content-encoding"), scope["query_string"])
    form = forms.parse(await _read_body(request))
    trace = trace_of(request)
    return TokenRequest(
        form=form,
        source=trace.source,
        network=parse_source(trace.source).network,
        url=metadata.address(gateway.settings.service.issuer, scope["path"]),
        method=request.method,
        now_ms=gateway.clock(),
        authorization=headers.get("authorization"),
        dpop=tuple(headers.getall("dpop", [])),
        certificate=client_certificates.client_certificate_of_scope(cast("Mapping[str, Any]", scope)),
        request_id=trace.request_id,
        identified=lambda client: _note(trace, client),
    )


def respond(body: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response[bytes]:
    return Response(
        _ENCODER.encode(body),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", "Pragma": "no-cache", **headers},
    )


def refuse(request: AnyRequest, refused: errors.OAuthError) -> Response[bytes]:
    trace_of(request).refuse(refused.reason)
    body = {"error": refused.error, "error_description": refused.description}
    return respond(body, refused.status, dict(refused.headers))


def trace_of(request: AnyRequest) -> Trace:
    trace: Trace = request.scope["portreeve.trace"]  # type: ignore[typeddict-item]  # our own key
    return trace


async def _asked(gateway: Gateway, ask: Ask, asked: TokenRequest) -> Mapping[str, Any]:
    try:
        return await ask(gateway.authorization_server, asked)
    except Refused as refused:
        raise errors.OAuthError(refused.error, refused.description) from None
    except StorageUnavailable:
        raise errors.unavailable("store_unavailable") from None
    except RingUnusable:
        raise errors.unavailable("no_signing_key") from None


async def _read_body(request: AnyRequest) -> bytes:
    try:
        return await request.body()
    except HTTPException as failure:
        if failure.status_code == _TOO_LARGE:
            raise forms.too_large() from None
        raise errors.invalid_request("The body did not arrive whole.") from None


def _note(trace: Trace, client: ServedClient) -> None:
    trace.credential, trace.partner = client.id, client.partner
