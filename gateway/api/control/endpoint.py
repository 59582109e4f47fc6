"""From a rule and a function to a handler of Litestar's.

Invariant: no handler runs without the operator that the pipeline made of a verified caller, nor for another operation
than the one that it authorised. A request that comes here otherwise is refused, whatever way it found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Controller, Response
from litestar import Request as HttpRequest
from litestar import route as litestar_route
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from gateway.api.control import failures, reading
from gateway.api.control.call import Call, Reply, Request
from gateway.api.control.rules import Rule
from gateway.operations import Operator
from gateway.problems import Refusal
from gateway.stages import hand_over

RULE: Final = "rule"
_ENCODER: Final = msgspec.json.Encoder()
_NOT_MODIFIED: Final = 304
_REVISION: Final = "portreeve-revision"

# A method of a controller: bound when it is called.
Answer = Callable[[Any, Call], Awaitable[Reply]]
Asked = HttpRequest[Any, Any, State]


def endpoint(rule: Rule) -> Callable[[Answer], HTTPRouteHandler]:
    def declare(answer: Answer) -> HTTPRouteHandler:
        async def handler(self: Controller, request: Asked) -> Response[bytes]:
            return await _answer(rule, lambda call: answer(self, call), request)

        handler.__name__ = answer.__name__
        return litestar_route(
            rule.handler_path, http_method=[rule.method], status_code=rule.status, opt={RULE: rule}
        )(handler)

    return declare


def require_operator(connection: ASGIConnection[Any, Any, Any, State], handler: BaseRouteHandler) -> None:
    """The last door: the pipeline comes before, and this holds should there ever be a way around it."""
    rule = handler.opt.get(RULE)
    scope: dict[str, Any] = dict(connection.scope)
    is_operator = isinstance(scope.get(hand_over.OPERATOR), Operator)
    if not is_operator or rule is None or scope.get(hand_over.OPERATION) != rule.route_name:
        raise Refusal("missing_credentials", "This is answered to verified callers only.")


async def _answer(rule: Rule, answer: Callable[[Call], Awaitable[Reply]], request: Asked) -> Response[bytes]:
    scope: dict[str, Any] = dict(request.scope)
    operator: Operator = scope[hand_over.OPERATOR]
    gateway = request.app.state.gateway
    asked = Request(
        path=scope["path"],
        query=scope["query_string"],
        body=await request.body(),
        headers=reading.Headers(scope["headers"]),
    )
    with failures.translated(rule.body):
        call = Call(rule, gateway.operations, operator, asked, dict(request.path_params), gateway.clock())
        reply = await answer(call)
        call.require_kept()
    return _response(rule, reply, asked.headers)


def _response(rule: Rule, reply: Reply, asked: reading.Headers) -> Response[bytes]:
    # What shows a secret is for nobody's cache; what may be kept is asked for again each time.
    headers = {"cache-control": "private, no-cache" if rule.method == "GET" else "no-store"}
    if reply.location is not None:
        headers["location"] = reply.location
    if reply.next is not None:
        headers["link"] = f'<{reply.next}>; rel="next"'
    if reply.revision is not None:
        headers["etag"] = reading.etag(reply.revision)
        if rule.method != "GET":
            # By it the caller can ask how far the change has come.
            headers[_REVISION] = str(reply.revision)
        if rule.method == "GET" and reading.is_known(asked, headers["etag"]):
            return Response(b"", status_code=_NOT_MODIFIED, headers=headers)
    body = _ENCODER.encode(reply.value)
    return Response(body, status_code=rule.status, headers=headers, media_type="application/json")
