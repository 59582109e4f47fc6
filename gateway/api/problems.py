"""How Litestar's own failures are told: as problems, like every other refusal."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import MethodNotAllowedException, NotFoundException
from litestar.routes import HTTPRoute

from gateway.observers import Observers
from gateway.problems import KINDS, Problem, Renderer
from gateway.refusals import problem_of
from gateway.routes import MethodNotAllowed
from gateway.server.exchange import ClientGone
from gateway.trace import Trace
from keys import shown

_TOO_LARGE = 413


def _methods_at(request: Request[Any, Any, Any]) -> tuple[str, ...]:
    found = (route for route in request.app.routes if isinstance(route, HTTPRoute))
    return tuple(
        sorted({method for route in found if route.path == request.url.path for method in route.methods})
    )


class ProblemHandler:
    def __init__(self, renderer: Renderer, observers: Observers) -> None:
        self._renderer = renderer
        self._observers = observers

    def __call__(self, request: Request[Any, Any, Any], failure: Exception) -> Response[bytes]:
        trace: Trace = request.scope["portreeve.trace"]  # type: ignore[typeddict-item]  # our own key
        if isinstance(failure, ClientGone):
            # Nobody is there to be told, and nothing of ours has failed.
            raise failure
        problem = _masked(_problem_of(failure, request))
        trace.refuse(problem.kind.code)
        if problem.kind.code == "internal_error":
            self._observers.note_defect(failure, trace.request_id)
        status, headers, body = self._renderer.render(problem, trace.request_id)
        named = {name.decode(): value.decode() for name, value in headers}
        return Response(body, status_code=status, headers=named, media_type="application/problem+json")


def _masked(problem: Problem) -> Problem:
    """Details, and the places that they point to, quote what was sent."""
    members = {
        name: shown.mask_pointer(told) if isinstance(told, str) else told
        for name, told in problem.members.items()
    }
    return msgspec.structs.replace(problem, detail=shown.mask(problem.detail), members=members)


def _problem_of(failure: Exception, request: Request[Any, Any, Any]) -> Problem:
    if isinstance(failure, NotFoundException):
        return Problem(KINDS["no_route"], "Nothing is served at this path.")
    if isinstance(failure, MethodNotAllowedException):
        return problem_of(MethodNotAllowed(_methods_at(request)))
    if isinstance(failure, HTTPException):
        code = "body_too_large" if failure.status_code == _TOO_LARGE else "malformed_request"
        return Problem(KINDS[code], "The request could not be read.")
    return problem_of(failure)
