"""The upstream behind every contender: what it answers, and that it waits for whoever reads slowly."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from bench.upstream import Upstream

_MIB = 1_048_576


class Wire:
    """Takes what is written and asks for a pause after as many writes as it is told."""

    def __init__(self, pause_after: int = 1_000_000) -> None:
        self.written: list[bytes] = []
        self.upstream = Upstream()
        self._pause_after = pause_after
        self.upstream.connection_made(cast("asyncio.Transport", self))

    def write(self, piece: bytes) -> None:
        self.written.append(piece)
        if len(self.written) == self._pause_after:
            self.upstream.pause_writing()

    def answer_to(self, *packets: bytes) -> tuple[bytes, bytes]:
        for packet in packets:
            self.upstream.data_received(packet)
        head, _, body = b"".join(self.written).partition(b"\r\n\r\n")
        self.written.clear()
        return head, body


@pytest.mark.parametrize(
    "packets",
    [
        (b"GET /orders?path=/stream HTTP/1.1\r\nhost: x\r\n\r\n",),
        (b"POST /orders HTTP/1.1\r\ncontent-length: 4\r\n\r\nbo", b"dy"),
    ],
)
def test_most_paths_answer_little(packets: tuple[bytes, ...]) -> None:
    """With a body or without; a query chooses nothing."""
    head, body = Wire().answer_to(*packets)
    assert b"content-length: 240" in head
    assert body == b"x" * 240


def test_a_file_has_a_length() -> None:
    """Also where its path came in two packets, and after another answer on the same connection."""
    wire = Wire()
    wire.answer_to(b"GET /orders HTTP/1.1\r\nhost: x\r\n\r\n")
    head, body = wire.answer_to(b"GET /orders/fi", b"le HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"content-length: 1048576" in head
    assert len(body) == _MIB


def test_a_stream_comes_in_chunks() -> None:
    """Sixteen of 64 KiB, and the last one of nothing."""
    head, body = Wire().answer_to(b"GET /orders/stream?a=b HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 16 + b"0\r\n\r\n"


def test_nothing_is_written_while_the_other_side_does_not_read() -> None:
    """And the rest follows when it reads again."""
    wire = Wire(pause_after=3)
    wire.upstream.data_received(b"GET /file HTTP/1.1\r\nhost: x\r\n\r\n")
    assert len(wire.written) == 3
    wire.upstream.resume_writing()
    assert sum(map(len, wire.written[1:])) == _MIB
