"""Large answers read, and large bodies sent, over many connections at once. Nothing of them is kept.

Every transfer is checked to be whole. A slow one stops in the middle for a while: whoever is in between must not
gather what it does not take.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.scenarios.large_answers import MIB

_TIMEOUT_S = 60
_PIECE = b"y" * 65_536
_BEFORE_PAUSE = MIB // 4


def read_all(port: int, requests: Sequence[bytes], size: int, pause_s: float = 0.0) -> None:
    """Each request on a connection of its own, all at once; each answer is `size` bytes."""
    _at_once([lambda request=request: _read(port, request, size, pause_s) for request in requests])  # type: ignore[misc]  # mypy cannot infer a default of a lambda


def send_all(port: int, heads: Sequence[bytes], size: int, *, chunked: bool) -> None:
    """A body of `size` bytes behind each head, all at once."""
    _at_once([lambda head=head: _send(port, head, size, chunked) for head in heads])  # type: ignore[misc]  # as above


def upload_head(target: str, size: int, *, chunked: bool) -> bytes:
    length = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
    return f"POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n{length}\r\n\r\n".encode()


def _at_once(transfers: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(transfers)) as threads:
        for done in [threads.submit(transfer) for transfer in transfers]:
            done.result()


def _read(port: int, request: bytes, size: int, pause_s: float) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        seen, room = 0, memoryview(bytearray(65_536))
        while seen < _BEFORE_PAUSE and (got := answer.readinto(room)):
            seen += got
        time.sleep(pause_s)
        while got := answer.readinto(room):
            seen += got
    _require(answer.status, seen, size)


def _send(port: int, head: bytes, size: int, chunked: bool) -> None:
    piece = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE) if chunked else _PIECE
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(head)
        for _ in range(size // len(_PIECE)):
            connection.sendall(piece)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        _require(answer.status, size if answer.read() else 0, size)


def _require(status: int, seen: int, size: int) -> None:
    if status != http.HTTPStatus.OK or seen != size:
        raise RuntimeError(f"answered {status} with {seen} bytes of {size}")
