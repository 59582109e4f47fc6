"""`/oauth/register`: clients that register themselves (RFC 7591) and lead themselves (RFC 7592).

Served only where `[oauth] registration` says so. Invariant: nobody registers without a token that an operator has made,
and nobody looks at a client, or changes it, without that client's own. How often a source asks is counted before the
store is asked, with all else that it asks the authorization server: what a client changes, all nodes follow. Which of
all reasons there are to refuse one is told nobody; a client that is not there and one of others are one answer.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.exceptions import HTTPException

from auth.oauth import errors, metadata
from gateway.api.oauth import client_metadata, endpoint
from gateway.operations import ApprovalNeeded, PermissionMissing
from gateway.operations.client_operations import MoreForItself
from gateway.runtime import Gateway
from gateway.sources import parse_source
from keys import kms, refusals
from keys.client_records import OAuthClient
from keys.client_registration import RegistrationRefused
from keys.secret import Secret
from policies import document
from storage.engine import StorageUnavailable

PATH: Final = "/oauth/register"
LARGEST: Final = 32_768

_CREATED: Final = 201
_DONE: Final = 200
_GONE: Final = 204
_FORBIDDEN: Final = 403
_UNSUPPORTED: Final = 415
_TOO_LARGE: Final = 413
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9_]{1,128})", re.IGNORECASE | re.ASCII)
_JSON: Final = re.compile(r'application/json(?: *; *charset="?utf-8"?)?', re.IGNORECASE)
# What a client says of itself, but may not (RFC 7592, section 2.2).
_NOT_TO_BE_SAID: Final = frozenset(
    {
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    }
)

Ask = Callable[[Gateway, Secret], Awaitable[dict[str, Any]]]


@post(PATH, status_code=_CREATED)
async def register_client(request: endpoint.AnyRequest) -> Response[bytes]:
    async def register(gateway: Gateway, presented: Secret) -> dict[str, Any]:
        operations, trace = gateway.operations.registrations, endpoint.trace_of(request)
        # Before anything that came is read: whoever has no token is told nothing else.
        token = await operations.find_usable(presented)
        trace.credential, trace.partner = token.id, token.partner
        asked = client_metadata.parse(await _read(request))
        made = await operations.register(
            presented,
            token,
            client_metadata.request_of(asked, token),
            source=trace.source,
            request_id=trace.request_id,
        )
        return _told(gateway, made.client, made.access)

    return await _answer(request, register, _CREATED)


@get(PATH + "/{client_id:str}", status_code=_DONE)
async def show_registered_client(request: endpoint.AnyRequest) -> Response[bytes]:
    async def show(gateway: Gateway, presented: Secret) -> dict[str, Any]:
        return _told(gateway, await _find(request, gateway, presented), presented)

    return await _answer(request, show, _DONE)


@put(PATH + "/{client_id:str}", status_code=_DONE)
async def change_registered_client(request: endpoint.AnyRequest) -> Response[bytes]:
    async def change(gateway: Gateway, presented: Secret) -> dict[str, Any]:
        seen, trace = await _find(request, gateway, presented), endpoint.trace_of(request)
        body = await _read(request)
        asked = client_metadata.parse(body)
        if not _NOT_TO_BE_SAID.isdisjoint(msgspec.json.decode(body, type=dict[str, msgspec.Raw])):
            raise client_metadata.invalid("The metadata hold what only the server says of a client.")
        changed = await gateway.operations.registrations.change(
            seen,
            client_metadata.change_of(asked, seen),
            client_metadata.public_key_of(asked),
            source=trace.source,
            request_id=trace.request_id,
        )
        return _told(gateway, changed, presented)

    return await _answer(request, change, _DONE)


@delete(PATH + "/{client_id:str}", status_code=_DONE)
async def remove_registered_client(request: endpoint.AnyRequest) -> Response[bytes]:
    async def remove(gateway: Gateway, presented: Secret) -> dict[str, Any]:
        seen, trace = await _find(request, gateway, presented), endpoint.trace_of(request)
        await gateway.operations.registrations.remove(seen, source=trace.source, request_id=trace.request_id)
        return {}

    return await _answer(request, remove, _GONE)


async def _find(request: endpoint.AnyRequest, gateway: Gateway, presented: Secret) -> OAuthClient:
    client_id: str = request.path_params["client_id"]
    client = await gateway.operations.registrations.find_client(client_id, presented)
    trace = endpoint.trace_of(request)
    trace.credential, trace.partner = client.id, client.partner
    return client


async def _answer(request: endpoint.AnyRequest, ask: Ask, status: int) -> Response[bytes]:
    gateway: Gateway = request.app.state.gateway
    try:
        if request.scope["query_string"]:
            raise errors.invalid_request("Nothing is taken in the address.")
        network = parse_source(endpoint.trace_of(request).source).network
        gateway.authorization_server.clients.charge(network, request.path_params.get("client_id", PATH))
        told = await _asked(gateway, _presented(request), ask)
    except errors.OAuthError as refused:
        return endpoint.refuse(request, refused)
    if status == _GONE:
        return Response(b"", status_code=status, headers={"Cache-Control": "no-store"})
    return endpoint.respond(told, status, {})


async def _asked(gateway: Gateway, presented: Secret, ask: Ask) -> dict[str, Any]:
    try:
        return await ask(gateway, presented)
    except RegistrationRefused:
        raise _unknown() from None
    except refusals.InvalidRequest as refusal:
        raise client_metadata.refused(refusal) from None
    except (document.UnknownName, document.NotGranted):
        raise client_metadata.invalid("The scope holds what this client could not have.") from None
    except (ApprovalNeeded, PermissionMissing):
        description = "A second person has to agree to this: ask those who run this gateway."
        raise errors.OAuthError("access_denied", description, status=_FORBIDDEN) from None
    except MoreForItself:
        description = "A client gives itself no scope and no grant type that it does not have."
        raise errors.OAuthError("access_denied", description, status=_FORBIDDEN) from None
    except refusals.Conflict:
        raise errors.OAuthError(
            client_metadata.INVALID, "The client does not allow of that as it is now.", status=409
        ) from None
    except (StorageUnavailable, kms.KmsUnavailable, kms.KmsRefused):
        raise errors.unavailable("store_unavailable") from None


def _presented(request: endpoint.AnyRequest) -> Secret:
    given = request.headers.get("authorization")
    found = None if given is None else _BEARER.fullmatch(given)
    if found is None:
        raise _unknown(challenge="Bearer")
    return Secret(found[1])


def _unknown(challenge: str = 'Bearer error="invalid_token"') -> errors.OAuthError:
    return errors.OAuthError(
        "invalid_token",
        "This lets nobody register or change a client.",
        status=errors.UNAUTHORIZED,
        headers=(("WWW-Authenticate", challenge),),
        reason="registration_refused",
    )


async def _read(request: endpoint.AnyRequest) -> bytes:
    content_type = request.headers.get("content-type")
    encoded = request.headers.get("content-encoding") is not None
    if encoded or content_type is None or _JSON.fullmatch(content_type) is None:
        raise errors.invalid_request("The body is to be application/json, as it stands.", status=_UNSUPPORTED)
    try:
        body = await request.body()
    except HTTPException as failure:
        if failure.status_code == _TOO_LARGE:
            raise _too_large() from None
        raise errors.invalid_request("The body did not arrive whole.") from None
    if len(body) > LARGEST:
        raise _too_large()
    return body


def _too_large() -> errors.OAuthError:
    return errors.invalid_request(f"The body is larger than {LARGEST} bytes.", status=_TOO_LARGE)


def _told(gateway: Gateway, client: OAuthClient, access: Secret) -> dict[str, Any]:
    return {
        **client_metadata.view(client),
        "registration_access_token": access.reveal(),
        "registration_client_uri": metadata.address(gateway.settings.service.issuer, f"{PATH}/{client.id}"),
    }


HANDLERS: Final = (
    register_client,
    show_registered_client,
    change_registered_client,
    remove_registered_client,
)
