"""From a turn, which is what a page does, to handlers of Litestar's.

Invariant: no turn of a form runs before the form has proved where it comes from; every answer, refusals too, carries
the headers of `guarding`; HEAD does what GET does, and nobody's account or access changes but by POST.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Request, Response, Router
from litestar import route as litestar_route
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from gateway.pages import answers, cookies, failures, fields, forging, guarding
from gateway.pages.assets import Assets
from gateway.pages.rendering import Templates
from gateway.pages.services import Services
from gateway.pages.visit import Visit
from gateway.problems import Refusal
from gateway.trace import Trace

Turn = Callable[[Visit], Awaitable[answers.Answer]]
Asked = Request[Any, Any, State]
_LONGEST_AGENT: Final = 200


class Serving:
    """Makes handlers; what they need of a running node is in the application's state by the time they are asked."""

    def __init__(self) -> None:
        self._assets = Assets()
        self._templates = Templates(self._assets)

    def shown(self, path: str, turn: Turn) -> HTTPRouteHandler:
        async def show_page(request: Asked) -> Response[bytes]:
            return await self._answer(request, turn, fields.read_query(request.scope["query_string"]))

        return litestar_route(path, http_method=["GET", "HEAD"], name=f"show {path}")(show_page)

    def taken(self, path: str, turn: Turn) -> HTTPRouteHandler:
        async def take_form(request: Asked) -> Response[bytes]:
            own = _services(request).origin
            forging.require_own_origin(
                request.headers.get("sec-fetch-site"), request.headers.get("origin"), own
            )
            headers, query = request.headers, request.scope["query_string"]
            body = await request.body()
            asked = fields.read_form(
                headers.get("content-type"), headers.get("content-encoding"), query, body
            )
            return await self._answer(request, turn, asked, is_form=True)

        return litestar_route(path, http_method=["POST"], status_code=200, name=f"take {path}")(take_form)

    def asset(self) -> HTTPRouteHandler:
        async def serve_asset(request: Asked) -> Response[bytes]:
            found = self._assets.find(request.path_params["name"])
            if found is None:
                raise Refusal("no_route", "Nothing is served at this path.")
            return Response(found.content, media_type=found.media_type, headers=guarding.asset_headers())

        return litestar_route("/oauth/assets/{name:str}", http_method=["GET", "HEAD"], name="page assets")(
            serve_asset
        )

    def router(self, handlers: list[HTTPRouteHandler]) -> Router:
        return Router(path="/", route_handlers=handlers, exception_handlers={Exception: self.refuse})

    async def _answer(
        self, request: Asked, turn: Turn, asked: dict[str, str], *, is_form: bool = False
    ) -> Response[bytes]:
        visit = await _visit(request, asked)
        if is_form:
            visit.require_own_form()
        try:
            answer = await turn(visit)
        except Exception as failure:
            detour = failures.find_detour(failure)
            if detour is None:
                raise
            answer = detour
        return answers.respond(answer, self._templates, visit.shared(), visit.set_cookies)

    def refuse(self, request: Asked, failure: Exception) -> Response[bytes]:
        """What went wrong, as a page: without a form, so without a key for one."""
        gateway, trace = request.app.state.gateway, _trace(request)
        told = failures.describe(failure)
        trace.refuse(told.code)
        if told.is_defect:
            gateway.observers.note_defect(failure, trace.request_id)
        page = answers.Page("failure.html", {"told": told}, told.status, headers=told.headers)
        shared = {"form_key": "", "person": None, "request_id": trace.request_id}
        return answers.respond(page, self._templates, shared, [])


def _services(request: Asked) -> Services:
    services: Services = request.app.state.gateway.pages
    return services


def _trace(request: Asked) -> Trace:
    trace: Trace = request.scope["portreeve.trace"]  # type: ignore[typeddict-item]  # our own key
    return trace


async def _visit(request: Asked, asked: dict[str, str]) -> Visit:
    services, trace = _services(request), _trace(request)
    header = "; ".join(request.headers.getall("cookie", []))
    cookie, now_ms = cookies.find(header, cookies.SESSION), services.clock()
    session = None if cookie is None else await services.people.sessions.find(cookie)
    visit = Visit(
        services,
        trace,
        asked=asked,
        cookie=cookie,
        session=session,
        forms=cookies.find(header, cookies.FORMS),
        agent=request.headers.get("user-agent", "")[:_LONGEST_AGENT],
        now_ms=now_ms,
    )
    if visit.signed_in is not None:
        trace.partner, trace.credential = visit.signed_in.partner or "", visit.signed_in.account_id
    return visit
