"""The compiled reader of heads: what it takes, the interpreted one takes alike, or else the parser; and what it keeps
of strangers is bounded.
"""

from __future__ import annotations

import random
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiled
from gateway.server.plain_head import (
    _KEEPS_ALIVE,
    _METHODS,
    _MOST_STEPS,
    CompiledReader,
    PlainReader,
    build_reader,
)
from tests.support import mutations, optional
from tests.support.front_line import LIMITS, replaced
from tests.support.one_look import NOBODY, Readers, facts, requests
from tests.support.signing import Signer

if TYPE_CHECKING or compiled.IS_USED:
    from compiled.heads import HeadReader

ORDINARY = replaced(max_header_bytes=32_768, max_headers=100, max_target_bytes=8_192)
HOST = b"Host: gateway.test\r\n"
GET = b"GET /pub/x?a=b HTTP/1.1\r\n" + HOST
POST = b"POST /pub/x HTTP/1.1\r\n" + HOST
# What each of these sends is known, whatever its values are.
TAUGHT = (
    GET + b"a: 1\r\nb: 2\r\n\r\n",
    GET + b"\r\n",
    GET + b"connection: close\r\n\r\n",
    POST + b"Content-Length: 5\r\n\r\nhello",
    POST + b"Content-Length: 5\r\nconnection: close\r\n\r\nhello",
)


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    optional.require("compiled_room")


def taught(*heads: bytes) -> CompiledReader:
    reader = CompiledReader(LIMITS)
    for head in heads or TAUGHT:
        assert reader.read(NOBODY, head) is not None
        assert reader._heads.read(head) is not None
    return reader


def heads(*, most_steps: int = 100) -> HeadReader:
    return HeadReader(_METHODS, _KEEPS_ALIVE, 1_000, 100, most_steps)


def head_of(*names: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"".join(name + b": x\r\n" for name in names) + b"\r\n"


def test_of_ten_thousand_mutated_requests_all_three_read_the_same() -> None:
    """Seeded, over signed and unsigned requests, with and without bodies."""
    chance, readers = random.Random(20260120), Readers(ORDINARY, with_compiled=True)
    makers = mutations.seeds([Signer("pk_live_0123456789abcdef", "hmac-sha256", "secret")])
    for _ in range(10_000):
        readers.compare(mutations.mutated(chance, makers))
    assert readers.compiled > 400
    assert readers.refused > 5_000


@pytest.mark.parametrize("good", [TAUGHT[3], GET + b"Connection: close\r\nA: b \r\n\r\n"])
def test_with_any_byte_changed_added_or_lost_all_three_read_the_same(good: bytes) -> None:
    """Every place in a request, and every byte there is; its own names are known."""
    readers = Readers(LIMITS, with_compiled=True)
    readers.compare(good)
    for at in range(len(good) + 1):
        readers.compare(good[:at] + good[at + 1 :])
        for byte in range(256):
            readers.compare(good[:at] + bytes([byte]) + good[at:])
            readers.compare(good[:at] + bytes([byte]) + good[at + 1 :])
    assert readers.compiled > 4_000
    assert readers.refused > 5_000


@settings(max_examples=1_500, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=4))
def test_whatever_requests_are_put_together_from_all_three_read_the_same(several: list[bytes]) -> None:
    """Each is read by what the ones before have taught."""
    readers = Readers(LIMITS, with_compiled=True)
    for data in [*several, *several]:
        readers.compare(data)


@settings(max_examples=1_500, deadline=None)
@given(
    st.sampled_from(TAUGHT),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2), st.binary(max_size=3)), max_size=3),
)
def test_a_known_head_that_is_spoilt_is_read_alike(
    data: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    """Bytes changed, inserted and cut."""
    readers = Readers(LIMITS, with_compiled=True)
    for known in TAUGHT:
        readers.compare(known)
    for at, cut, change in changes:
        data = data[:at] + change + data[at + cut :]
    readers.compare(data)


def test_bounds_are_those_of_the_interpreted_reader() -> None:
    """Of the read and of the target, to the byte."""
    for most_bytes in range(20, 120):
        limits = replaced(max_header_bytes=most_bytes, max_headers=20, max_target_bytes=most_bytes // 4)
        readers = Readers(limits, with_compiled=True)
        for count in range(1, 12):
            readers.compare(b"GET / HTTP/1.1\r\n" + b"a: \r\n" * count + b"\r\n")
            readers.compare(b"GET /" + b"a" * count + b" HTTP/1.1\r\na: " + b"b" * count + b"\r\n\r\n")
        readers.compare(b"GET / HTTP/1.1\r\na: \r\n\r\n")
        for length in range(most_bytes):
            readers.compare(b"GET /" + b"a" * length + b" HTTP/1.1\r\na: \r\n\r\n")
            readers.compare(b"GET / HTTP/1.1\r\na: " + b"b" * length + b"\r\n\r\n")


LEFT = {
    "names that nobody has sent": GET + b"c: 1\r\n\r\n",
    "names in another order": GET + b"b: 1\r\na: 2\r\n\r\n",
    "the first names of others": GET + b"a: 1\r\n\r\n",
    "names in another case": GET + b"A: 1\r\nb: 2\r\n\r\n",
    "no names": b"GET / HTTP/1.1\r\n\r\n",
    "another method": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no method": b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target that is no path": b"GET x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a control character in the target": b"GET /a\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a byte past ASCII in the target": b"GET /a\x80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a DEL in the target": b"GET /a\x7f HTTP/1.1\r\n" + HOST + b"\r\n",
    "another version": b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    "a target past its bound": b"GET /" + b"a" * 256 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a blank in front of a value": GET + b"a:  1\r\nb: 2\r\n\r\n",
    "no blank in front of a value": GET + b"a:1\r\nb: 2\r\n\r\n",
    "a tab in a value": GET + b"a: 1\tb\r\nb: 2\r\n\r\n",
    "a NUL in a value": GET + b"a: 1\x00\r\nb: 2\r\n\r\n",
    "a DEL in a value": GET + b"a: 1\x7f\r\nb: 2\r\n\r\n",
    "a byte past ASCII in a value": GET + b"a: \xe9\r\nb: 2\r\n\r\n",
    "a bare LF": GET + b"a: 1\nb: 2\r\n\r\n",
    "a bare CR": GET + b"a: 1\rb: 2\r\n\r\n",
    "a folded line": GET + b"a: 1\r\n 2\r\nb: 2\r\n\r\n",
    "half a head": GET + b"a: 1\r\nb: 2\r\n",
    "half an end": GET + b"a: 1\r\nb: 2\r\n\r",
    "nothing": b"",
    "another request behind it": GET + b"\r\n" + GET + b"\r\n",
    "a byte behind it": GET + b"\r\nG",
    "a body that is not whole": POST + b"Content-Length: 5\r\n\r\nhell",
    "more than the body": POST + b"Content-Length: 5\r\n\r\nhello!",
    "a length with a zero in front": POST + b"Content-Length: 05\r\n\r\nhello",
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "a length with a blank behind it": POST + b"Content-Length: 5 \r\n\r\nhello",
    "a length of nothing": POST + b"Content-Length: \r\n\r\n",
    "a length of letters": POST + b"Content-Length: x\r\n\r\n",
    "what would add up, above the digits": POST + b"Content-Length: :\r\n\r\n0123456789",
    "what would add up, below them": POST + b"Content-Length: 1/\r\n\r\n012345678",
    "a length past all numbers": POST + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "a connection that names a header": GET + b"connection: close, a\r\n\r\n",
    "a connection of nothing": GET + b"connection: \r\n\r\n",
}


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_what_is_in_any_doubt_is_declined(data: bytes) -> None:
    """Whatever else is known: the interpreted reader and the parser judge."""
    assert taught()._heads.read(data) is None


def test_a_head_is_read_by_its_names_alone() -> None:
    """Every other value, target and method; and what might be a name in a value is none."""
    data = b"DELETE /a;b?%41 HTTP/1.1\r\nHost: \r\na: b: c\r\nb: %b ~ \r\n\r\n"
    assert PlainReader(LIMITS).read(NOBODY, data) is None
    exchange = taught().read(NOBODY, data)
    assert exchange is not None
    assert facts(exchange) == {
        "method": "DELETE",
        "target": b"/a;b?%41",
        "http_version": "1.1",
        "names": (b"Host", b"a", b"b"),
        "values": [b"", b"b: c", b"%b ~ "],
        "oversized": None,
        "keep_alive": True,
        "body": b"",
        "more_body": False,
    }


def test_length_and_connection_decide_as_ever() -> None:
    """A body is whole, and the connection is kept or not."""
    reader = taught()
    for connection, keep_alive in _KEEPS_ALIVE.items():
        found = reader._heads.read(
            POST + b"Content-Length: 0\r\nconnection: " + connection + b"\r\n\r\n",
        )
        assert found is not None
        assert (found[4], found[5]) == (keep_alive, b"")
    found = reader._heads.read(POST + b"Content-Length: 12\r\n\r\n\r\n\r\nGET / \r\n")
    assert found is not None
    assert found[4:] == (True, b"\r\n\r\nGET / \r\n")


def test_equal_names_are_one_value() -> None:
    """Whoever looks something up by them need not compare them."""
    reader = CompiledReader(LIMITS)
    found = [reader.read(NOBODY, TAUGHT[0]) for _ in range(3)]
    assert len({id(exchange.names) for exchange in found if exchange}) == 1


def test_the_names_in_one_place_are_bounded_and_the_last_one_goes() -> None:
    """What is met again and again stays, whatever strangers send."""
    reader = heads()
    reader.teach((b"host", b"accept"), None, None)
    for number in range(200):
        reader.teach((b"x-%d" % number, b"y"), None, None)
        assert reader.read(head_of(b"host", b"accept")) is not None
        # Sixteen times two names in two steps.
        assert reader.steps <= 64
    assert [number for number in range(200) if reader.read(head_of(b"x-%d" % number, b"y"))] == [
        *range(14),
        199,
    ]


def test_a_name_that_is_met_moves_forward_and_one_that_is_not_falls_behind() -> None:
    """So a client that came late is kept, and one that has gone makes place."""
    reader = heads()
    for number in range(16):
        reader.teach((b"x-%d" % number,), None, None)
    for _ in range(16):
        assert reader.read(head_of(b"x-15")) is not None
    for number in range(16, 32):
        reader.teach((b"x-%d" % number,), None, None)
    kept = [number for number in range(32) if reader.read(head_of(b"x-%d" % number))]
    assert kept == [*range(14), 15, 31]


def test_all_names_together_are_bounded() -> None:
    """The whole tree goes, and grows anew."""
    reader = heads(most_steps=40)
    for first in range(10):
        for second in range(10):
            names = (b"a", b"b-%d" % first, b"c-%d" % second)
            reader.teach(names, None, None)
            assert reader.read(head_of(*names)) is not None
            assert reader.steps <= 40


@pytest.mark.parametrize(
    "names", [(), (b"a" * 65,), (b"a",) * 33, (b"a", b"b" * 1_000)], ids=["none", "long", "many", "behind"]
)
def test_neither_long_nor_many_names_are_kept(names: tuple[bytes, ...]) -> None:
    """The interpreted reader leaves them to the parser; and nothing of them is kept."""
    reader = heads()
    reader.teach(names, None, None)
    assert reader.steps == 0
    assert reader.read(head_of(*names)) is None


def test_names_up_to_the_bounds_are_kept() -> None:
    """Thirty-two of them, of sixty-four bytes."""
    reader = HeadReader(_METHODS, _KEEPS_ALIVE, 10_000, 100, 100)
    names = tuple(b"%064d" % number for number in range(32))
    reader.teach(names, None, None)
    assert reader.steps == 64
    assert reader.read(head_of(*names)) is not None


def test_a_flood_of_strange_names_leaves_ordinary_requests_as_they_are() -> None:
    """They are read, and what is kept stays bounded."""
    chance, reader = random.Random(7), CompiledReader(ORDINARY)
    for _ in range(3_000):
        names = [b"x-%d" % chance.randrange(1_000) for _ in range(chance.randrange(1, 12))]
        assert reader.read(NOBODY, GET + head_of(*names).partition(b"\r\n")[2]) is not None
        assert reader.read(NOBODY, TAUGHT[0]) is not None
        assert reader._heads.steps <= _MOST_STEPS


@pytest.mark.parametrize("fan", [1, 5, 12, 16])
def test_what_strangers_teach_takes_less_memory_than_is_said(fan: int) -> None:
    """Heads as long as may be that differ near their ends, or from the first name on: each has names of its own."""
    reader = HeadReader(_METHODS, _KEEPS_ALIVE, 10_000, 100, _MOST_STEPS)
    tracemalloc.start()
    try:
        for number in range(fan**3 if fan > 1 else 300):
            ends = (number // fan**2, number // fan % fan, number % fan) if fan > 1 else (number,) * 3
            begins = number % 16 if fan == 1 else 0
            reader.teach(
                (*[b"%04d-%059d" % (begins, at) for at in range(29)], *[b"%064d" % end for end in ends]),
                None,
                None,
            )
            assert reader.steps <= _MOST_STEPS
            assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_the_names_of_heads_count_and_go_with_their_steps() -> None:
    """A head that is taught again counts once."""
    reader = heads(most_steps=200)
    for _ in range(3):
        reader.teach((b"a", b"b"), None, None)
        assert reader.steps == 4
    reader.teach((b"a",), None, None)
    assert reader.steps == 5
    for number in range(200):
        reader.teach((b"x-%d" % number, b"y"), None, None)
    assert reader.steps == 5 + 15 * 4


def test_the_server_reads_compiled() -> None:
    """Where it is built, and not turned off."""
    assert isinstance(build_reader(LIMITS), CompiledReader)
