"""The one-look readers of requests beside the parser, and requests to show them."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway.server.exchange import Exchange
from gateway.server.limits import Limits
from gateway.server.plain_head import CompiledReader, PlainReader
from gateway.server.protocol import StrictProtocol, strict_protocol
from tests.support.front_line import refuse

# Whose connection it is, does not matter to a reader.
NOBODY = cast("StrictProtocol", SimpleNamespace(peer="", scheme="http"))
# Everything of an exchange that is made from its request.
FACTS = (
    "method",
    "target",
    "http_version",
    "names",
    "values",
    "oversized",
    "keep_alive",
    "body",
    "more_body",
)


class StillLoop:
    """Time does not pass in it."""

    def time(self) -> float:
        return 0.0

    def call_later(self, _seconds: float, _callback: Any) -> Any:  # noqa: ANN401  stands for a timer
        return SimpleNamespace(cancel=lambda: None)


class Transport:
    """Nobody is at the other end; what is written is kept."""

    def __init__(self) -> None:
        self.written = b""

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass


class Taken(list[Exchange]):
    """Stands for the turns, and serves nothing."""

    take = list.append

    def end(self) -> None:
        pass


@functools.cache
def config() -> uvicorn.Config:
    async def app(_scope: object, _receive: object, _send: object) -> None: ...

    return uvicorn.Config(app, interface="asgi3", lifespan="off")


def facts(exchange: Exchange) -> dict[str, Any]:
    return {name: getattr(exchange, name) for name in FACTS}


class Readers:
    """The one-look reader, and the parser behind the same protocol, which never gets to see a plain request.

    With `with_compiled` the compiled reader beside them: as what came before has taught it, and as the message has.
    """

    def __init__(self, limits: Limits, *, with_compiled: bool = False) -> None:
        self._build = strict_protocol(limits, refuse)
        self._twin = PlainReader(limits)
        self._compiled = CompiledReader(limits) if with_compiled else None
        self.accepted = 0
        self.refused = 0
        # Of those that were accepted: by what had been taught before.
        self.compiled = 0

    def compare(self, data: bytes) -> None:
        twin = self._twin.read(NOBODY, data)
        plain = twin if self._compiled is None else self._look_twice(self._compiled, twin, data)
        if plain is None:
            self.refused += 1
            return
        self.accepted += 1
        self._parse(plain, data)

    def _look_twice(self, reader: CompiledReader, twin: Exchange | None, data: bytes) -> Exchange | None:
        """What the twin takes is taken alike, and in one step once it is taught. Names that lead nowhere teach nothing:
        what the twin leaves is then read as before, or not at all.
        """
        self.compiled += reader._heads.read(data) is not None
        plain, again = reader.read(NOBODY, data), reader.read(NOBODY, data)
        assert (plain is None) == (again is None), data
        assert plain is None or again is None or facts(plain) == facts(again), data
        if twin is not None:
            assert plain is not None, data
            assert facts(plain) == facts(twin), data
            assert reader._heads.read(data) is not None, data
        return plain

    def _parse(self, plain: Exchange, data: bytes) -> None:
        protocol, taken = self._connected()
        protocol._at_rest = False
        protocol.data_received(data)
        assert [facts(exchange) for exchange in taken] == [facts(plain)], data
        # And there it ends: nothing is half-read or in line, nothing was answered, and the next one would be heard.
        left = (
            protocol._begun,
            protocol._deaf,
            len(protocol.pipeline),
            cast("Any", protocol.transport).written,
        )
        assert left == (False, False, 0, b""), data
        protocol.connection_lost(None)

    def _connected(self) -> tuple[StrictProtocol, Taken]:
        protocol = self._build(config(), ServerState(), {}, cast("Any", StillLoop()))
        taken = Taken()
        protocol._turns = cast("Any", taken)
        protocol.connection_made(cast("Any", Transport()))
        return protocol, taken


# The parts of a request: what is usual there, and what is not.
PARTS = {
    "method": (b"GET|POST|HEAD|PUT|DELETE|PATCH|OPTIONS", b"CONNECT|TRACE|PROPFIND|get|"),
    "blank": (b" ", b"  |\t|"),
    "target": (b"/|/a?b=%20|//x|/?|/a;b", b"*|http://h/|/a#b||/\x80|/\x00|h:1|?a"),
    "version": (b"HTTP/1.1", b"HTTP/1.0|HTTP/2.0|http/1.1|HTTP/1.1 |"),
    "line end": (b"\r\n", b"\n|\r||\r\n |\r\n\r\n"),
    "name": (
        b"Host|accept|X-A|Content-Type|x_b|a^~|Content_Length|Keep-Alive",
        b"Content-Length|content-length|Connection|proxy-connection|Expect|Transfer-Encoding|Upgrade|| a|a |\xe9|(",
    ),
    "colon": (b":|: |:   ", b"| :|\t:|:\t"),
    "value": (
        b'x|| a b |:|a: b|5|close|keep-alive|chunked|"|%',
        b"x\t|a\tb|\xe9|\x00|\x7f|a\rb|a\nb|+5|5,5|05|5 |close, x|100-continue",
    ),
    "connection": (
        b"|Connection: close\r\n|CONNECTION:keep-alive\r\n|",
        b"Connection: Upgrade\r\n|connection:\r\n",
    ),
    "length": (b"%d", b"0%d|%d |+%d|%d,%d|1%d|"),
    "end": (b"\r\n", b"\n|\r|"),
    "behind": (b"", b"\r\n|\r\n\r\n|G|\x00|0\r\n\r\n|GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
}


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Unusual in two respects at most, so that each stands alone often enough."""
    unusual = draw(st.sets(st.sampled_from([*PARTS]), max_size=2))

    def part(name: str) -> bytes:
        return draw(st.sampled_from(PARTS[name][name in unusual].split(b"|")))

    start = [part("method"), part("blank"), part("target"), part("blank"), part("version"), part("line end")]
    lines = [
        part("name") + part("colon") + part("value") + part("line end")
        for _ in range(draw(st.integers(0, 4)))
    ]
    lines.append(part("connection"))
    body = draw(st.sampled_from([b"", b"", b"hello", b"\r\n\r\n", b"\x00" * 20]))
    if body or "length" in unusual:
        lines.append(b"Content-Length: " + part("length").replace(b"%d", b"%d" % len(body)) + b"\r\n")
    return b"".join([*start, *draw(st.permutations(lines)), part("end"), body, part("behind")])
