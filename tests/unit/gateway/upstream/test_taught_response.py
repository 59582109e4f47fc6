"""The compiled look at an answer: it takes what it was taught, as what taught it would have taken it, or nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiled
from gateway.upstream import ResponseLimits, UpstreamResponse
from gateway.upstream.parsing import ResponseParser
from gateway.upstream.plain_response import PlainReader, TaughtReader
from gateway.upstream.response import Source
from tests.support.compiled import needs_the_room

if TYPE_CHECKING:
    from compiled.answers import Role
if compiled.IS_USED:
    from compiled.answers import AnswerReader

pytestmark = needs_the_room

LINE = b"HTTP/1.1 200 OK"
LENGTH: tuple[bytes, bytes, Role] = (b"Content-Length", b"", "length")
PASSED: tuple[bytes, bytes, Role] = (b"x", b"x", "")
KEPT: tuple[bytes, bytes, Role] = (b"Connection", b"", "connection")
OK = LINE + b"\r\nContent-Length: 2\r\n\r\nok"

names = st.sampled_from(
    [
        b"content-type",
        b"Content-Type",
        b"date",
        b"Date",
        b"server",
        b"X-A",
        b"x-%s",
        b"set-cookie",
        b"Portreeve-X",
        b"keep-alive",
        b"Connection",
        b"connection",
        b"content-length",
        b"Content-Length",
        b"ratelimit",
        b"Location",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-x",
        b"x-accel-a",
        b"X Y",
        b"",
    ]
)
values = st.one_of(
    st.sampled_from(
        [b" keep-alive", b" Keep-Alive\t", b" close", b" 2", b"2", b" 02", b" 2 ", b"", b" ", b" \t"]
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.encode),
    st.lists(
        st.sampled_from([b"\t", b" ", b"a", b":", b"%", b"\x7f", b"\x80", b"\xff", b"\0"]), max_size=5
    ).map(b"".join),
)
ordinary_names = st.sampled_from(
    [b"content-type", b"Content-Type", b"date", b"Server", b"ratelimit", b"x-%s"]
)
ordinary_values = st.sampled_from([b" a", b"a", b" a b\t", b"", b"  c", b" ", b" 2"])
bodies = st.binary(max_size=20)


def written(status_line: bytes, lines: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    return b"%b\r\n%b\r\n%b" % (status_line, b"".join([b"%b:%b\r\n" % line for line in lines]), body)


def has_a_date_at_most(lines: list[tuple[bytes, bytes]]) -> bool:
    return sum(name.lower() == b"date" for name, _ in lines) < 2


@st.composite
def ordinary(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.tuples(ordinary_names, ordinary_values), max_size=5).filter(has_a_date_at_most))
    body = draw(bodies)
    length = (draw(st.sampled_from([b"content-length", b"Content-Length"])), b" %d" % len(body))
    lines.insert(draw(st.integers(0, len(lines))), length)
    if draw(st.booleans()):
        kept = draw(st.sampled_from([b" keep-alive", b"Keep-Alive "]))
        lines.insert(draw(st.integers(0, len(lines))), (b"Connection", kept))
    return written(draw(st.sampled_from([LINE, b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500"])), lines, body)


@st.composite
def odd(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.tuples(names, values), max_size=6))
    body = draw(bodies)
    if draw(st.booleans()):
        lines.append((b"content-length", b" %d" % len(body)))
    statuses = [LINE, b"HTTP/1.1 204 No", b"HTTP/1.1 304", b"HTTP/1.1 101 a", b"HTTP/1.0 200 OK", b"", b"a:b"]
    return written(draw(st.sampled_from(statuses)), lines, body)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """One that is ordinary, and what was made of it."""
    raw = draw(ordinary())
    changed = raw
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(changed)))
        put = draw(
            st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"0", b"9", b":", b"\x80", b"z"])
        )
        changed = changed[:at] + put + changed[at + draw(st.integers(0, 2)) :]
    return raw, changed


def look(reader: PlainReader, raw: bytes, *, head_only: bool = False) -> tuple[object, ...] | None:
    nobody_waits, nothing = cast("asyncio.Future[None]", None), cast("Source", None)
    response = UpstreamResponse(nothing, nobody_waits, head_only)
    if not reader.read(raw, response):
        assert (response.status, response.lines, response.whole, response.dated) == (0, b"", None, None)
        return None
    told = response.status, response.lines, response.locations, response.content_length, response.whole
    assert response.dated is (b"\r\ndate: " in b"\r\n" + response.lines)
    return told


def parsed(raw: bytes, *, head_only: bool = False) -> tuple[object, ...]:
    parser = ResponseParser(ResponseLimits())
    parser.expect(head_only=head_only)
    parser.feed(raw)
    assert parser.complete
    assert parser.may_go_on
    head = parser.head
    assert head is not None
    return head.status, head.lines, head.locations, head.content_length, b"".join(parser.pieces)


def taught(raw: bytes) -> TaughtReader:
    reader = TaughtReader(ResponseLimits())
    assert look(reader, raw) is not None
    assert reader._taught.read(raw) is not None
    return reader


@given(ordinary())
def test_what_is_ordinary_is_taken_the_second_time(raw: bytes) -> None:
    """Without the plan, and as the parser reads it."""
    reader = taught(raw)
    before = reader._plan_of.cache_info()
    assert look(reader, raw) == look(PlainReader(ResponseLimits()), raw) == parsed(raw)
    assert reader._plan_of.cache_info() == before


@settings(max_examples=200)
@given(spoilt())
def test_whatever_is_made_of_it_is_read_as_by_who_taught_it(pair: tuple[bytes, bytes]) -> None:
    """Or by nobody, where that one declines."""
    raw, changed = pair
    reader, twin = taught(raw), PlainReader(ResponseLimits())
    read = look(reader, changed)
    assert read == look(twin, changed)
    assert read is None or read == parsed(changed)


@settings(max_examples=200)
@given(st.lists(odd(), min_size=1, max_size=4), st.booleans())
def test_whatever_comes_is_read_as_by_who_taught_it(raws: list[bytes], head_only: bool) -> None:
    """With all of it known, and whether it answers HEAD or not."""
    reader, twin = TaughtReader(ResponseLimits()), PlainReader(ResponseLimits())
    for raw in [*raws, *raws]:
        for answers_head in (False, head_only):
            read = look(reader, raw, head_only=answers_head)
            assert read == look(twin, raw, head_only=answers_head)
            assert read is None or read == parsed(raw, head_only=answers_head)


def reading(*headers: tuple[bytes, bytes, Role]) -> AnswerReader:
    reader = AnswerReader(2048, 64)
    assert not reader.teach(LINE, 200, headers)
    return reader


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 02",
        b"Content-Length: +2",
        b"Content-Length: 18446744073709551618",  # and so does this, in 64 bits
        b"Content-Length: /<",  # which comes to two, if nobody looks
        b"Content-Length: 2,",
        b"Content-Length: ",
        b"Content-Length:3",
        b"Content-Length: 1",
        b"content-length: 2",
        b"Content-Length : 2",
        b"Content-Length: 2\x80",
        b"Content-Length: 2\0",
        b"Content-Length: 2\r\nX-A: b",
        b"Content-Length: 2\r\nContent-Length: 2",
        b"Content-Length: " + b"9" * 30,
        b"Content-Length: 2\r\n b",
        b"Content-Length",
        b"X-A: b",
        b"",
        b"Content-Length: 2\n",
        b"Content-Length: 2\r",
        b"Content-Length: 2" + b" " * 2048,
    ],
)
def test_what_was_not_taught_is_declined(line: bytes) -> None:
    """Other names, and values that leave a doubt."""
    assert reading(LENGTH).read(LINE + b"\r\n" + line + b"\r\n\r\nok") is None


@pytest.mark.parametrize("byte", [*range(0x09), *range(0x0A, 0x20), *range(0x7F, 0x100)])
def test_a_value_that_goes_on_holds_nothing_but_what_can_be_seen_and_blanks(byte: int) -> None:
    """The last of them below 0x80, too, which nothing else here would tell from a letter."""
    head = LINE + b"\r\nX-A: b%bc\r\nContent-Length: 2\r\n\r\nok"
    reader = reading((b"X-A", b"x-a", ""), LENGTH)
    assert reader.read(head % b"\t") == (200, b"x-a: b\tc\r\n", b"ok", False)
    assert reader.read(head % b"~") == (200, b"x-a: b~c\r\n", b"ok", False)
    assert reader.read(head % bytes([byte])) is None


def test_a_head_that_is_not_known_to_end_there_is_declined() -> None:
    """Where others go on, it may not have its length yet."""
    reader = reading((b"X-A", b"x-a", ""), LENGTH)
    assert reader.read(LINE + b"\r\nX-A: b\r\n\r\n") is None
    assert reader.read(LINE + b"\r\n\r\n") is None
    assert reader.read(LINE + b"\r\nX-A: b\r\nContent-Length: 0\r\n\r\n") == (200, b"x-a: b\r\n", b"", False)


@pytest.mark.parametrize("value", [b"close", b"keep-alive, x", b"", b"keep-alive\0", b"Upgrade"])
def test_a_connection_that_is_not_simply_kept_is_declined(value: bytes) -> None:
    """Whatever else it says."""
    reader, line = reading(KEPT, LENGTH), LINE + b"\r\nConnection: %b\r\nContent-Length: 2\r\n\r\nok"
    assert reader.read(line % b"Keep-ALIVE\t") == (200, b"", b"ok", False)
    assert reader.read(line % value) is None


def test_lines_go_on_as_they_are_or_in_order() -> None:
    """In lower case, with one blank; hidden ones in between leave no gap."""
    reader = reading(
        (b"a", b"a", ""),
        (b"b", b"b", ""),
        (b"C", b"c", ""),
        (b"d", b"d", ""),
        (b"Keep-Alive", b"", ""),
        LENGTH,
        (b"date", b"date", "date"),
    )
    for a in (b" 1", b"1", b"  1", b" 1 ", b"\t1"):
        for d in (b" 4", b"4", b" 4\t"):
            raw = (
                b"%b\r\na:%b\r\nb: \r\nC: 3\r\nd:%b\r\nKeep-Alive: 5\r\nContent-Length: 1\r\ndate: 6\r\n\r\nx"
            )
            lines = b"a: 1\r\nb: \r\nc: 3\r\nd: 4\r\ndate: 6\r\n"
            assert reader.read(raw % (LINE, a, d)) == (200, lines, b"x", True)


def test_what_was_taught_is_bounded() -> None:
    """Once there is too much, all is forgotten but the newest."""
    reader = AnswerReader(2048, 64)
    forgot = [reader.teach(b"HTTP/1.1 200 %d" % at, 200, (LENGTH,)) for at in range(100)]
    assert 0 < reader.steps <= 64
    assert [at for at, each in enumerate(forgot) if each] == [32, 64, 96]
    newest, oldest = (b"HTTP/1.1 200 %d\r\nContent-Length: 2\r\n\r\nok" % at for at in (99, 0))
    assert reader.read(newest) is not None
    assert reader.read(oldest) is None


def test_what_may_follow_one_step_is_bounded() -> None:
    """Looking for the next name must not become a search."""
    reader = AnswerReader(2048, 1024)
    forgot = [reader.teach(LINE, 200, ((b"x-%d" % at, b"", ""), LENGTH)) for at in range(40)]
    assert [at for at, each in enumerate(forgot) if each] == [16, 32]
    assert reader.read(LINE + b"\r\nx-39: 1\r\nContent-Length: 2\r\n\r\nok") is not None


def test_what_is_long_or_much_is_not_taught() -> None:
    """Nor is anything forgotten for it."""
    reader = reading(LENGTH)
    steps, many = reader.steps, [PASSED] * 64
    assert not reader.teach(LINE, 200, ((b"x" * 129, b"", ""), LENGTH))
    assert not reader.teach(b"HTTP/1.1 200 " + b"x" * 120, 200, (LENGTH,))
    assert not reader.teach(LINE, 200, (*many, LENGTH))
    assert reader.steps == steps
    assert reader.read(OK) is not None


def test_what_was_forgotten_is_taught_again() -> None:
    """By who had a plan for it all along."""
    reader = taught(OK)
    for at in range(16):
        look(reader, LINE + b"\r\nx-%d: 1\r\nContent-Length: 0\r\n\r\n" % at)
    assert reader._taught.read(OK) is None
    assert look(reader, OK) is not None
    assert reader._taught.read(OK) is not None


@pytest.mark.parametrize(
    "raw",
    [
        LINE + b"\r\nLocation: /a\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
        LINE + b"\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        LINE + b"\r\nUpgrade: a\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_what_is_special_is_not_taught(raw: bytes) -> None:
    """Nobody else may look at where it leads, how it ends and what becomes of the connection."""
    reader, twin = TaughtReader(ResponseLimits()), PlainReader(ResponseLimits())
    for _ in range(2):
        assert look(reader, raw) == look(twin, raw)
    assert reader._taught.steps == 0


def test_an_answer_to_head_is_read_by_who_knows_of_it() -> None:
    """With a body it is none, however often its like came with one."""
    reader = taught(OK)
    assert look(reader, OK, head_only=True) is None
    bodiless = OK[:-2]
    assert look(reader, bodiless, head_only=True) == parsed(bodiless, head_only=True)


def test_a_second_date_is_not_taken_for_what_was_taught() -> None:
    """Though everything in front of it was, and though its name stood in its place before."""
    reader = taught(LINE + b"\r\nDate: a\r\nX-A: b\r\ncontent-length: 0\r\n\r\n")
    taught_too = LINE + b"\r\nX-A: b\r\nDate: a\r\ncontent-length: 0\r\n\r\n"
    assert look(reader, taught_too) is not None
    for names_of_it in ((b"Date", b"X-A", b"Date"), (b"X-A", b"Date", b"Date"), (b"Date", b"date", b"X-A")):
        raw = written(LINE, [*((name, b" c") for name in names_of_it), (b"content-length", b" 0")], b"")
        for _ in range(2):
            assert look(reader, raw) is None
        assert parsed(raw)[1] == b"x-a: c\r\n"
    assert look(reader, taught_too) is not None
