"""The edge: where every request comes to first, straight from the server.

Configured routes go into the pipeline; the gateway's own pages (health, metrics, the edge's help, key sets)
go on to Litestar, as ASGI. It shares Litestar's life span and state, but stands before its router, whose path rules
are not ours.

Invariant: every answer carries `Portreeve-Request-Id`, and every request leaves one trace.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from typing import Any, NoReturn

from gateway import client_certificates
from gateway.answer import Answer
from gateway.arrival import Arrival
from gateway.doors import Doors
from gateway.observers import Observers
from gateway.paths import MalformedPath
from gateway.patterns import RESERVED_ROOTS
from gateway.pipeline import Pipeline
from gateway.problems import Problem, Refusal, Renderer
from gateway.refusals import problem_of
from gateway.request_ids import request_ids
from gateway.routes import MethodNotAllowed, NoRoute
from gateway.server.exchange import ClientGone, Exchange
from gateway.stages.admit import Admit, Admitted
from gateway.stages.limit_sign_ins import LimitSignIns
from gateway.stages.limit_source import LimitSource
from gateway.trace import LONGEST_PATH, Trace
from gateway.waits import own_task

AsgiApp = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

_PROBES = frozenset({"/health/live", "/health/ready"})
_UNREADABLE = frozenset({400, 431})
# What of the gateway's own needs a verified caller goes through the pipeline, like any signed request.
WHOAMI = "/edge/v1/whoami"
CONTROL = "/control/v1/"
# But one: a scanner's report is signed by the scanner, and the page that takes it looks at that itself. It has an
# address of its own inside, at which nobody outside finds it.
LEAKS = "/control/v1/leaks"
SCANNER_REPORTS = "/control/v1/leaks/scanned"
_OF_SCANNERS = b"github-public-key-identifier"
_OF_PARTNERS = b"portreeve-key"


class Edge:
    def __init__(  # noqa: PLR0913, PLR0917  the composition root names each part
        self,
        inner: AsgiApp,
        doors: Doors,
        admit: Admit,
        limit_source: LimitSource,
        pipeline: Pipeline,
        renderer: Renderer,
        observers: Observers,
        clock: Callable[[], int],
    ) -> None:
        self._inner = inner
        self._doors = doors
        # A method that is bound once: to call an object is looked up with every request.
        self._admit = admit.__call__
        self._find_charged = admit.find_charged
        self._limit_source = limit_source
        self._run = pipeline.run
        self._renderer = renderer
        self._observers = observers
        self._clock = clock
        self._limit_sign_ins = LimitSignIns()
        self._ids = request_ids()
        # How a path begins that may be ours, or not be served on its port. Most paths are neither.
        self._looked_at = ("/",) if doors.are_divided else tuple(f"/{root}" for root in RESERVED_ROOTS)

    async def __call__(self, exchange: Exchange) -> None:
        ids, clock, admit, run = self._ids, self._clock, self._admit, self._run
        exchange.request_id = request_id = next(ids)
        exchange.at_ms = at_ms = clock()
        exchange.trace = trace = Trace(at_ms, request_id, exchange.method)
        try:
            try:
                try:
                    admitted = admit(exchange)
                except (Refusal, MalformedPath, MethodNotAllowed):
                    self._charge(exchange)
                    raise
                if admitted.target.path.startswith(self._looked_at) and self._is_ours(admitted, exchange):
                    await self._serve_ours(admitted, exchange)
                    return
                answer = await run(admitted)
            except ClientGone:
                raise
            except Exception as failure:  # noqa: BLE001  the boundary: what is unknown becomes internal_error
                answer = self._refuse(failure, exchange)
                # Whoever raised it may keep it for a while, as the store's lane does: not the request, and its body.
                failure.__traceback__ = None
                if exchange.response_started:
                    # The head is out, so no problem can be told. Returning early closes the connection unfinished.
                    return
            # As `Trace.enter` does it: every request comes by, and a call would cost as much again.
            trace.stages_us["answer"] = perf_counter_ns()
            if not answer.write_at_once(exchange):
                await self._write(answer, exchange)
        except ClientGone:
            trace.reason = trace.reason or "client_gone"
            raise
        finally:
            trace.status, trace.sent_bytes = exchange.status, exchange.sent_bytes
            self._observers.note(trace)

    def _is_ours(self, admitted: Admitted, exchange: Exchange) -> bool:
        path = admitted.target.path
        if not self._doors.lead_to(path, exchange.protocol.server):
            self._refuse_door(admitted)
        if path == WHOAMI:
            return False
        if path.startswith(CONTROL):
            return _is_scanner_report(admitted)
        return path.split("/", 2)[1] in RESERVED_ROOTS

    def _charge(self, arrival: Arrival) -> None:
        """What cannot be admitted still counts against whoever sent it."""
        source = self._find_charged(arrival)
        arrival.trace.source = source.text if source is not None else arrival.peer
        arrival.trace.path = _loggable(arrival.target)
        if source is not None:
            self._limit_source(source)

    def _refuse_door(self, admitted: Admitted) -> NoReturn:
        """A path that this port does not serve is no route, and asking for it is not free."""
        self._limit_source(admitted.source)
        raise NoRoute

    async def _serve_ours(self, admitted: Admitted, exchange: Exchange) -> None:
        arrival = admitted.arrival
        arrival.trace.route = "gateway"
        if admitted.target.path not in _PROBES:
            # A probe must not fail because of what its neighbours behind the same address send.
            self._limit_source(admitted.source)
            self._limit_sign_ins(arrival.method, admitted.target.path, admitted.source)
        if admitted.target.path.endswith("/"):
            # Litestar's router would drop the slash; to a rule in front of us it is another path.
            raise NoRoute
        await own_task()
        arrival.trace.enter("page")
        scope = exchange.scope()
        scope["portreeve.trace"] = arrival.trace
        scope[client_certificates.SCOPE] = client_certificates.client_certificate_of(admitted)
        if admitted.target.path == LEAKS:
            scope["path"] = SCANNER_REPORTS
        try:
            await self._inner(scope, exchange.receive, exchange.send)
        except Exception:
            if exchange.client_gone:
                # Litestar wraps what comes out of a send in a failure of its own.
                raise ClientGone from None
            raise

    async def _write(self, answer: Answer, exchange: Exchange) -> None:
        try:
            await answer.write(exchange)
        except ClientGone:
            raise
        except Exception as failure:  # noqa: BLE001  an upstream that breaks off: the client must see it too
            # The head is out, so no problem can be told. Returning early closes the connection unfinished.
            exchange.trace.refuse(self._known(failure, exchange).kind.code)
        finally:
            if answer.close is not None:
                await answer.close()

    def _refuse(self, failure: Exception, arrival: Arrival) -> Answer:
        problem = self._known(failure, arrival)
        arrival.trace.refuse(problem.kind.code)
        status, lines, body = self._renderer.write(problem, arrival.request_id)
        answer = Answer(status, lines, body, dated=False)
        if status in _UNREADABLE:
            # What could be read in two ways once could be read in two ways again: no next request from there.
            answer.last = True
        return answer

    def _known(self, failure: Exception, arrival: Arrival) -> Problem:
        problem = problem_of(failure)
        if problem.kind.code == "internal_error":
            self._observers.note_defect(failure, arrival.request_id)
        return problem


def _is_scanner_report(admitted: Admitted) -> bool:
    if admitted.target.path != LEAKS or admitted.arrival.method != "POST":
        return False
    names = {name.lower() for name in admitted.arrival.names}
    return _OF_SCANNERS in names and _OF_PARTNERS not in names


def _loggable(target: bytes) -> str:
    """Never a query, nor the name and password of an absolute form: they may carry what no log should."""
    return target.partition(b"?")[0].decode("latin-1")[:LONGEST_PATH] if target.startswith(b"/") else ""
