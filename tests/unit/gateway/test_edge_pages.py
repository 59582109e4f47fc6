"""The edge in front of an application: a page that fails, or whose client goes, cannot spoil what follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.api.problems import ProblemHandler
from gateway.doors import Doors
from gateway.edge import AsgiApp, Edge
from gateway.observers import Observers
from gateway.pipeline import Pipeline
from gateway.problems import Renderer
from gateway.server.exchange import ClientGone
from gateway.server.protocol import strict_protocol
from gateway.sources import Sources
from gateway.stages.admit import Admit
from gateway.stages.limit_source import LimitSource
from gateway.trace import Trace
from tests.support.front_line import LIMITS, connected, refuse

HEAD = [(b"content-length", b"5")]


class Told:
    def __init__(self) -> None:
        self.traces: list[Trace] = []
        self.defects: list[BaseException] = []

    def note(self, trace: Trace) -> None:
        trace.finish()
        self.traces.append(trace)

    def note_defect(self, failure: BaseException, _request_id: str) -> None:
        self.defects.append(failure)


@asynccontextmanager
async def edge_before(page: AsgiApp, told: Told) -> AsyncIterator[Any]:
    edge = Edge(
        page,
        Doors(None),
        Admit(Sources(())),
        cast("LimitSource", lambda _: None),
        cast("Pipeline", SimpleNamespace(run=None)),
        Renderer("https://docs.example"),
        cast("Observers", told),
        lambda: int(time.time() * 1000),
    )
    config = uvicorn.Config(cast("Any", page), log_level="critical", lifespan="off")
    protocol, state = strict_protocol(LIMITS, refuse, None, edge.__call__), ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        for connection in list(state.connections):
            cast("Any", connection).transport.abort()


async def ask(address: tuple[str, int], method: bytes = b"GET") -> bytes:
    async with connected(address) as (reader, writer):
        writer.write(method + b" /edge/v1/page HTTP/1.1\r\nhost: x\r\n\r\n")
        return await asyncio.wait_for(reader.read(), 5)


async def test_a_page_that_fails_after_its_head_is_cut_and_not_answered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A problem behind the head would be read as its body, and all later answers as each other's."""

    async def page(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await send({"type": "http.response.start", "status": 200, "headers": HEAD})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        raise RuntimeError("on purpose")

    told, logged = Told(), list[object]()
    monkeypatch.setattr("gateway.server.turns._LOG.error", lambda *what, **_: logged.append(what))
    async with edge_before(page, told) as address:
        received = await ask(address)
    assert not logged
    assert received.count(b"HTTP/1.1") == 1
    assert received.endswith(b"\r\n\r\nab")
    (trace,) = told.traces
    assert (trace.status, trace.sent_bytes, trace.reason) == (200, 2, "internal_error")
    assert [type(defect) for defect in told.defects] == [RuntimeError]


async def test_a_page_that_fails_before_its_head_is_a_problem() -> None:
    async def page(_scope: Any, _receive: Any, _send: Any) -> None:  # noqa: ANN401  ASGI callables
        raise RuntimeError("on purpose")

    told = Told()
    async with edge_before(page, told) as address, connected(address) as (reader, writer):
        writer.write(b"GET /edge/v1/page HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 500 " in await asyncio.wait_for(reader.readline(), 5)


async def test_what_a_request_raised_does_not_hold_it_once_it_is_answered() -> None:
    """The store's lane keeps the refusals of its last batch, which would keep those requests and their bodies."""
    kept = RuntimeError("on purpose")

    async def page(_scope: Any, _receive: Any, _send: Any) -> None:  # noqa: ANN401  ASGI callables
        raise kept

    async with edge_before(page, Told()) as address, connected(address) as (reader, writer):
        writer.write(b"GET /edge/v1/page HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 500 " in await asyncio.wait_for(reader.readline(), 5)
    assert kept.__traceback__ is None


async def test_a_client_that_goes_is_no_defect_whatever_a_page_makes_of_it() -> None:
    """Litestar raises a failure of its own around it; strangers could else fill the log with defects."""
    wrapped: list[BaseException] = []

    async def page(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"ab", "more_body": True})
                await asyncio.sleep(0.005)
        except OSError as gone:
            wrapped.append(gone)
            raise RuntimeError("wrapped") from gone

    told = Told()
    async with edge_before(page, told) as address:
        async with connected(address) as (reader, writer):
            writer.write(b"GET /edge/v1/page HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.wait_for(reader.readline(), 5)
        async with asyncio.timeout(30):
            while not told.traces:  # noqa: ASYNC110  the page has nothing to tell when its request is over
                await asyncio.sleep(0.01)
    assert wrapped
    assert (told.traces[0].reason, told.traces[0].status, told.defects) == ("client_gone", 200, [])


async def test_an_answer_without_a_body_is_told_as_one() -> None:
    """Whatever length a GET would have had."""

    async def page(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await send(
            {"type": "http.response.start", "status": 200, "headers": [*HEAD, (b"connection", b"close")]}
        )
        await send({"type": "http.response.body", "body": b"abcde"})

    told = Told()
    async with edge_before(page, told) as address:
        assert (await ask(address, b"HEAD")).endswith(b"\r\n\r\n")
        assert (await ask(address)).endswith(b"\r\n\r\nabcde")
    assert [trace.sent_bytes for trace in told.traces] == [0, 5]


def test_litestar_is_told_of_no_failure_where_a_client_went() -> None:
    """It would render a problem for nobody, and note a defect."""
    told, trace = Told(), Trace(0, "r1", "GET")
    handler = ProblemHandler(Renderer("https://docs.example"), cast("Observers", told))
    request = cast("Any", SimpleNamespace(scope={"portreeve.trace": trace}))
    with pytest.raises(ClientGone):
        handler(request, ClientGone())
    assert (trace.reason, told.defects) == ("", [])
