"""The bytes of an answer, and what `Exchange` decides of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answer import Answer
from gateway.server.exchange import Exchange
from gateway.server.joining import join, join_interpreted
from tests.support.compiled import needs_the_room

DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"

both = pytest.mark.parametrize("joined", [join, join_interpreted])
lines = st.sampled_from([b"", b"a: b\r\n", b"a: b\r\nc: %d\r\n"])


@both
def test_an_answer_is_written_in_order(joined: Callable[..., bytes]) -> None:
    """What is empty is not there at all."""
    ok = b"HTTP/1.1 200 OK\r\n"
    assert joined(ok, b"a: b\r\n", "17", DATE, b"c: d\r\n", 2, b"ok") == (
        ok + b"a: b\r\nportreeve-request-id: 17\r\n" + DATE + b"c: d\r\ncontent-length: 2\r\n\r\nok"
    )
    assert joined(ok, b"", "", b"", b"", 0, b"") == ok + b"content-length: 0\r\n\r\n"
    assert joined(ok, b"", "", b"", b"", -1, b"") == ok + b"\r\n"


@needs_the_room
@given(
    lines,
    st.text(max_size=3),
    lines,
    lines,
    st.one_of(st.integers(-1, 300), st.integers(-1, 2**63 - 1)),
    st.binary(max_size=40),
)
def test_whatever_it_is_made_of_it_is_written_alike(
    passed: bytes, request_id: str, default_lines: bytes, farewell: bytes, length: int, body: bytes
) -> None:
    """Compiled or not."""
    pieces = b"HTTP/1.1 200 OK\r\n", passed, request_id, default_lines, farewell, length, body
    assert join(*pieces) == join_interpreted(*pieces)


class Connection:
    """What an exchange needs of one."""

    takes_more = True
    default_lines = DATE

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.transport = SimpleNamespace(write=self.written.append)
        self.drain = SimpleNamespace(has_begun=False)
        self.ended = ""

    def on_response_complete(self) -> None:
        self.ended = "kept"

    def linger(self, *, whole: bool) -> None:
        self.ended = f"closed, whole: {whole}"


def exchange(method: str = "GET", **changes: Any) -> tuple[Exchange, Connection]:  # noqa: ANN401  fields of it
    connection = Connection()
    fields: dict[str, Any] = {"keep_alive": True, "more_body": False, "request_id": "17", **changes}
    made = Exchange(cast("Any", connection), "", "http", method, b"/", (), [], **fields)
    return made, connection


def head_of(connection: Connection) -> list[bytes]:
    (written,) = connection.written
    return written.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


@pytest.mark.parametrize(
    ("passed", "dated", "dates"),
    [
        (b"", None, 1),
        (b"date: x\r\n", None, 0),
        (b"a: b\r\ndate: x\r\n", None, 0),
        (b"x-date: x\r\n", None, 1),
        (b"a: date: x\r\n", None, 1),
        (b"", False, 1),
        (b"date: x\r\n", True, 0),
    ],
)
def test_the_date_is_told_once(passed: bytes, dated: bool | None, dates: int) -> None:
    """By the upstream, or else by the gateway; looked for where nobody knows."""
    made, connection = exchange()
    assert Answer(200, passed, b"", dated=dated).write_at_once(made)
    assert head_of(connection).count(DATE[:-2]) == dates


def test_what_was_sent_is_not_held_once_it_was_answered() -> None:
    """A connection may be kept for long, and there are many of them."""
    made, connection = exchange(body=b"all of it")
    assert Answer(200, b"", b"").write_at_once(made)
    assert (made.body, connection.ended) == (b"", "kept")


async def test_the_request_is_named_in_every_answer() -> None:
    """Whole, piece by piece, or of an application that speaks ASGI; and only where it has a name."""
    whole, streamed, page = exchange(), exchange(), exchange()
    assert Answer(200, b"", b"").write_at_once(whole[0])
    await streamed[0].begin(200, b"", None)
    await page[0].send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    for _, connection in (whole, streamed, page):
        assert head_of(connection).count(b"portreeve-request-id: 17") == 1
    made, connection = exchange(request_id="")
    assert Answer(200, b"", b"").write_at_once(made)
    assert head_of(connection) == [DATE[:-2], b"content-length: 0"]


@pytest.mark.parametrize(
    ("method", "status", "body", "length", "told", "sent"),
    [
        ("GET", 200, b"ok", None, b"2", b"ok"),
        ("GET", 200, b"", None, b"0", b""),
        ("HEAD", 200, b"ok", None, b"2", b""),
        ("HEAD", 200, b"", 17, b"17", b""),
        ("HEAD", 200, b"", 0, b"0", b""),
        ("HEAD", 200, b"", None, None, b""),
        ("GET", 204, b"", None, None, b""),
        ("GET", 304, b"", 17, b"17", b""),
        ("GET", 304, b"", None, None, b""),
    ],
)
def test_a_length_is_told_where_there_is_one(
    method: str, status: int, body: bytes, length: int | None, told: bytes | None, sent: bytes
) -> None:
    """Where no body follows, it is what a GET would have brought, if anybody knows."""
    made, connection = exchange(method)
    assert Answer(status, b"", body, None, length).write_at_once(made)
    lengths = [line for line in head_of(connection) if line.startswith(b"content-length")]
    assert lengths == ([] if told is None else [b"content-length: " + told])
    assert connection.written[0].partition(b"\r\n\r\n")[2] == sent
    assert (made.sent_bytes, made.status, connection.ended) == (len(sent), status, "kept")


@pytest.mark.parametrize(
    ("changes", "last", "drains", "ended"),
    [
        ({}, True, False, "closed, whole: True"),
        ({"more_body": True}, False, False, "closed, whole: False"),
        ({"keep_alive": False}, False, False, "closed, whole: True"),
        ({}, False, True, "closed, whole: True"),
        ({}, False, False, "kept"),
    ],
)
def test_the_last_answer_of_a_connection_says_so(
    changes: dict[str, Any], last: bool, drains: bool, ended: str
) -> None:
    """And closes it."""
    made, connection = exchange(**changes)
    connection.drain.has_begun = drains
    assert Answer(200, b"", b"ok", last=last).write_at_once(made)
    assert (b"connection: close" in head_of(connection)) == (ended != "kept")
    assert connection.ended == ended


async def test_a_body_in_pieces_is_framed_once() -> None:
    """By its length, or in chunks; or not at all, where none follows."""
    for method, length, framing in (
        ("GET", 5, [b"content-length: 5"]),
        ("GET", None, [b"transfer-encoding: chunked"]),
        ("HEAD", 5, [b"content-length: 5"]),
        ("HEAD", None, []),
    ):
        made, connection = exchange(method)
        await made.begin(200, b"a: b\r\n", length)
        told = [line for line in head_of(connection) if line.startswith((b"content-length", b"transfer"))]
        assert told == framing


def test_no_second_answer_is_written() -> None:
    """The first may have begun only."""
    made, connection = exchange()
    assert Answer(200, b"", b"").write_at_once(made)
    with pytest.raises(RuntimeError, match="begun already"):
        Answer(200, b"", b"").write_at_once(made)
    assert len(connection.written) == 1
