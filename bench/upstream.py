"""The fastest upstream that Python makes, the same one behind every contender. `python -m bench.upstream PORT`.

A path that ends in `/stream` answers 1 MiB in chunks of 64 KiB and `/file` 1 MiB of a stated length, both no
faster than the other side reads; anything else, with a body or without, answers 240 bytes.
Refuses nothing and checks nothing: it is there to cost little. Proxies don't pipeline, so it answers one
request of a connection at a time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from itertools import chain, repeat

import httptools
import uvloop

_PIECE = b"x" * 65_536
_PIECES = 16
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_ANSWER = _HEAD + b"content-length: 240\r\n\r\n" + b"x" * 240
_FILE_HEAD = _HEAD + b"content-length: %d\r\n\r\n" % (_PIECES * len(_PIECE))
_STREAM_HEAD = _HEAD + b"transfer-encoding: chunked\r\n\r\n"
_CHUNK = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)


class Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP gives this one
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._rest: Iterator[bytes] = iter(())
        self._writable = True

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        # A target that arrives in two packets comes in two calls.
        self._target += url

    def on_message_complete(self) -> None:
        path, self._target = self._target.partition(b"?")[0], b""
        if path.endswith(b"/stream"):
            self._rest = chain((_STREAM_HEAD,), repeat(_CHUNK, _PIECES), (b"0\r\n\r\n",))
            self._write_rest()
        elif path.endswith(b"/file"):
            self._rest = chain((_FILE_HEAD,), repeat(_PIECE, _PIECES))
            self._write_rest()
        else:
            self._transport.write(_ANSWER)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._write_rest()

    def _write_rest(self) -> None:
        while self._writable:
            piece = next(self._rest, None)
            if piece is None:
                return
            self._transport.write(piece)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
