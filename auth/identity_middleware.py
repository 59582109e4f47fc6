"""A door for upstreams: plain ASGI, so Litestar, Starlette and bare applications use the same one.

Invariant: the application behind it is called for no HTTP request and no WebSocket without a verified
`Identity`, which it finds in `scope["state"]["identity"]`. An assertion made for one request passes with
that request only: method, target and body are compared whenever the assertion names them.
Refuses: 401 when the assertion is missing or invalid, 413 when a bound body is too large to compare, 503
when no keys can be had. It never lets a request through because something failed.
"""

import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from auth import identity, identity_keys

# Every framework types ASGI in its own way; these fit them all.
Scope = Any
Message = Any
Receive = Callable[..., Awaitable[Message]]
Send = Callable[..., Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADER: Final = b"portreeve-identity"
_POLICY_VIOLATION: Final = 1008


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: HTTPStatus
    title: str
    code: str
    detail: str


_NOT_ACCEPTED: Final = _Refusal(HTTPStatus.UNAUTHORIZED, "Identity not accepted", "invalid_identity", "")
_NO_KEYS: Final = _Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Identity keys unavailable",
    "identity_keys_unavailable",
    "The keys that prove identities could not be fetched.",
)
_TOO_LARGE: Final = _Refusal(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "Body too large",
    "body_too_large",
    "The body is larger than this service compares with a bound identity.",
)


class _BodyTooLarge(Exception):
    pass


class _ClientGone(Exception):
    pass


def _system_now_ms() -> int:
    return time.time_ns() // 1_000_000


class IdentityMiddleware:
    def __init__(  # noqa: PLR0913  each is the upstream's own decision; none has a safe default but the last four
        self,
        app: Application,
        *,
        keys: identity_keys.IdentityKeys,
        issuer: str,
        audience: str,
        environment: str,
        require_binding: bool = False,
        max_body_bytes: int = 1_048_576,
        leeway_ms: int = 1_000,
        now_ms: Callable[[], int] = _system_now_ms,
    ) -> None:
        self._app = app
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._environment = environment
        self._require_binding = require_binding
        self._max_body_bytes = max_body_bytes
        self._leeway_ms = leeway_ms
        self._now_ms = now_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._identify(scope)
            receive = await self._check_binding(caller, scope, receive)
        except identity.InvalidIdentity as refused:
            await _refuse(scope, receive, send, replace(_NOT_ACCEPTED, detail=refused.reason))
        except identity_keys.KeysUnavailable:
            await _refuse(scope, receive, send, _NO_KEYS)
        except _BodyTooLarge:
            await _refuse(scope, receive, send, _TOO_LARGE)
        except _ClientGone:
            return
        else:
            scope.setdefault("state", {})["identity"] = caller
            await self._app(scope, receive, send)

    async def _identify(self, scope: Scope) -> identity.Identity:
        assertion = _get_assertion(scope)
        now_ms = self._now_ms()
        try:
            return self._verify(assertion, await self._keys.get(), now_ms)
        except identity.UnknownSigningKey:
            return self._verify(assertion, await self._keys.get_again(), now_ms)

    def _verify(self, assertion: str, jwks: identity.Jwks, now_ms: int) -> identity.Identity:
        return identity.verify(
            assertion,
            jwks=jwks,
            issuer=self._issuer,
            audience=self._audience,
            environment=self._environment,
            now_ms=now_ms,
            leeway_ms=self._leeway_ms,
        )

    async def _check_binding(self, caller: identity.Identity, scope: Scope, receive: Receive) -> Receive:
        if caller.request is None and not self._require_binding:
            return receive
        body = b"" if scope["type"] == "websocket" else await _read(receive, self._max_body_bytes)
        identity.require_bound(caller, _describe(scope, body))
        return receive if scope["type"] == "websocket" else _replay(body, receive)


def _get_assertion(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name.lower() == _HEADER]
    if not values:
        raise identity.InvalidIdentity("missing")
    # Two of them cannot both come from the gateway, and nothing says which one did.
    if len(values) > 1:
        raise identity.InvalidIdentity("malformed")
    assertion: str = values[0].decode("latin-1")
    return assertion


def _describe(scope: Scope, body: bytes) -> identity.BoundRequest:
    raw_path = scope.get("raw_path")
    if raw_path is None:  # the decoded path cannot be turned back into the bytes that were sent
        raise identity.InvalidIdentity("wrong_request")
    return identity.BoundRequest(
        method=scope.get("method", "GET"),  # a WebSocket opens with GET and its scope does not say so
        target_sha256=identity.target_sha256(raw_path, scope.get("query_string", b"")),
        body_sha256=hashlib.sha256(body).hexdigest(),
    )


async def _read(receive: Receive, max_body_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _ClientGone
        body += message.get("body", b"")
        if len(body) > max_body_bytes:
            raise _BodyTooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body was taken to be hashed; hand it on once, then whatever the server says next."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: _Refusal) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect: closing before accepting answers the handshake with 403
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    body = json.dumps({"type": "about:blank"} | asdict(refusal)).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Portreeve-Identity"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
