"""An upstream whose answers are as large as the request says. `python -m bench.scenarios.large_answers PORT`.

`…/stream?mib=64` answers 64 MiB in chunks and `…/file?mib=64` as many of a stated length, no faster than the other
side reads: what a proxy holds of them must not depend on how large they are. All else is as in `bench.upstream`.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from itertools import chain, repeat

import uvloop

from bench.upstream import Upstream

MIB = 1_048_576
_PIECE = b"x" * 65_536
_PIECES_OF_MIB = MIB // len(_PIECE)
_CHUNK = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
_ASKED = re.compile(rb"/(stream|file)\?mib=([1-9][0-9]{0,3})\Z")


def answer(target: bytes) -> Iterator[bytes] | None:
    """The pieces of what is asked for, or None where no size is named."""
    asked = _ASKED.search(target)
    if asked is None:
        return None
    pieces = int(asked[2]) * _PIECES_OF_MIB
    if asked[1] == b"stream":
        head = _HEAD + b"transfer-encoding: chunked\r\n\r\n"
        return chain((head,), repeat(_CHUNK, pieces), (b"0\r\n\r\n",))
    return chain((_HEAD + b"content-length: %d\r\n\r\n" % (pieces * len(_PIECE)),), repeat(_PIECE, pieces))


class LargeAnswers(Upstream):
    def on_message_complete(self) -> None:
        asked = answer(self._target)
        if asked is None:
            super().on_message_complete()
            return
        self._target = b""
        self._rest = asked
        self._write_rest()


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(LargeAnswers, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
