"""Hazards, "Paths, headers, framing": an upstream that breaks the protocol harms its own request alone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support import rawhttp
from tests.support.gateway import Deployment
from tests.support.recording_upstream import Exchange, answering, echo
from tests.support.signing import plain_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"

BROKEN = {
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + CHUNKS + b"\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "length with sign": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "length past 64 bits": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
    "xchunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\nContent-Length: 2\r\n\r\nok",
    "CR in a value": b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nok",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "no HTTP at all": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a switch nobody asked for": b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 200 + OK,
    "a giant head": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "ten thousand headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000 + b"Content-Length: 2\r\n\r\nok",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
}


@pytest.fixture(autouse=True)
def others_are_unharmed(edge: Deployment) -> Iterator[None]:
    """Behind every misbehaviour, the next ten requests get their own answers."""
    yield
    edge.paper.script = echo
    for number in range(10):
        target = b"/pub/after/%d" % number
        answer = edge.node.ask(plain_request("GET", target))
        assert answer.status == 200, str(answer)
        assert answer.json()["target"].encode() == target


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_is_not_well_framed_is_upstream_broken(edge: Deployment, raw: bytes) -> None:
    """502 with nothing of the upstream's bytes in it."""
    with edge.paper.scripted(answering(raw, close=True)):
        answer = edge.node.ask(plain_request("GET", b"/pub/x"))
    assert answer.code == "upstream_broken", str(answer)
    assert answer.status == 502
    assert b"ok" not in answer.body.replace(b"broken", b"")
    assert b"OpenSSH" not in answer.body


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nshort\r\n",
    ],
    ids=["length", "chunks", "bad chunk", "oversized chunk"],
)
def test_an_answer_that_breaks_off_is_seen_to_be_broken(edge: Deployment, raw: bytes) -> None:
    """A short body is never passed on as a whole one."""
    with edge.paper.scripted(answering(raw, close=True)), edge.node.connect() as connection:
        try:
            answer = connection.ask(plain_request("GET", b"/pub/x"))
        except (rawhttp.Truncated, rawhttp.NotHttp):
            return
    assert answer.code == "upstream_broken", str(answer)


@pytest.mark.parametrize(
    "extra", [OK, b"x", b"\r\n", OK * 50], ids=["an answer", "a byte", "a line", "fifty answers"]
)
def test_an_upstream_that_answers_twice_loses_the_rest(edge: Deployment, extra: bytes) -> None:
    """Bytes behind an answer never become the answer of somebody else's request."""
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
    with edge.paper.scripted(answering(raw + extra.replace(b"ok", b"ev"))):
        answers = [edge.node.ask(plain_request("GET", b"/pub/x")) for _ in range(5)]
    assert {(answer.status, answer.body) for answer in answers} <= {(200, b"first")}


def test_an_upstream_that_answers_before_it_is_asked_is_not_believed(edge: Deployment) -> None:
    """An answer that lay ready on an idle pooled connection is never given to the next request."""
    is_answered, lies_ready = threading.Semaphore(0), threading.Semaphore(0)

    def late_second(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        is_answered.acquire(timeout=10)
        with contextlib.suppress(OSError):
            exchange.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        lies_ready.release()

    signer = edge.key()
    with edge.paper.scripted(late_second):
        for number in range(20):
            signed = signer.request("GET", b"/paper/v1/echo")
            answer = edge.node.ask(signed if number % 2 else plain_request("GET", b"/pub/x"))
            assert (answer.status, answer.body) == (200, b"first"), str(answer)
            is_answered.release()
            assert lies_ready.acquire(timeout=10)


def test_an_upstream_that_answers_early_does_not_poison_the_connection(edge: Deployment) -> None:
    """An answer in the middle of the request's body is passed on or refused; the body frames nothing."""

    def early(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nearly")
        exchange.read_body()

    body = b"GET /admin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    with edge.paper.scripted(early):
        answer = edge.node.ask(plain_request("POST", b"/pub/x", [], body))
    assert answer.status in {403, 502}, str(answer)
    assert not [request for request in edge.paper.requests if request.target.startswith(b"/admin")]


def test_interim_answers_are_passed_over(edge: Deployment) -> None:
    """A few 1xx before the answer are no answers."""
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with edge.paper.scripted(answering(hints + OK)):
        answer = edge.node.ask(plain_request("GET", b"/pub/x"))
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4000\r\n\r\n"),
    ],
)
def test_answers_that_have_no_body_are_taken_without_one(edge: Deployment, method: str, raw: bytes) -> None:
    """HEAD, 204 and 304 end with their head, whatever length they name."""
    with edge.paper.scripted(answering(raw)), edge.node.connect() as connection:
        for _ in range(3):
            answer = connection.ask(plain_request(method, b"/pub/x"), method)
            assert answer.status == int(raw[9:12]), str(answer)
            assert answer.body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_where_none_may_be_becomes_nobodys_answer(edge: Deployment, status: int) -> None:
    """Bytes behind a 204 or 304 are thrown away with their connection."""
    raw = b"HTTP/1.1 %d Nothing\r\nContent-Length: 4\r\n\r\nevil" % status
    with edge.paper.scripted(answering(raw)):
        answers = [edge.node.ask(plain_request("GET", b"/pub/x")) for _ in range(3)]
    assert {answer.status for answer in answers} <= {status, 502}
    assert not any(b"evil" in answer.body for answer in answers)


def test_an_answer_ended_by_closing_arrives_whole(edge: Deployment) -> None:
    """HTTP/1.0 style: no length, the end of the connection is the end of the body."""
    with edge.paper.scripted(answering(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", close=True)):
        answer = edge.node.ask(plain_request("GET", b"/pub/x"))
    assert (answer.status, answer.body) == (200, b"until the end")


def test_trailers_of_an_upstream_reach_nobody(edge: Deployment) -> None:
    """Fields behind the body are dropped."""
    raw = b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"Portreeve-Request-Id: evil\r\n\r\n"
    with edge.paper.scripted(answering(raw)):
        answer = edge.node.ask(plain_request("GET", b"/pub/x"))
    assert (answer.status, answer.body) == (200, b"ok")
    assert "evil" not in str(answer.headers)


def test_an_upstream_that_never_answers_is_timed_out_and_frees_its_place(edge: Deployment) -> None:
    """A silent upstream costs its caller a 504, and its connection is not used again."""
    released = threading.Event()

    def silent(exchange: Exchange) -> None:
        exchange.read_body()
        released.wait(30)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    with edge.paper.scripted(silent):
        answer = edge.node.ask(edge.key().request("GET", b"/paper/v1/impatient"))
        released.set()
    assert answer.code == "upstream_timeout", str(answer)


def test_an_upstream_that_dribbles_is_timed_out(edge: Deployment) -> None:
    """A body that stalls is cut, and the client sees that it is not whole."""
    released = threading.Event()

    def dribble(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab")
        released.wait(30)

    with edge.paper.scripted(dribble), edge.node.connect(timeout=5) as connection:
        with pytest.raises(rawhttp.Truncated):
            connection.ask(edge.key().request("GET", b"/paper/v1/impatient"))
        released.set()


def test_a_write_is_never_sent_twice(edge: Deployment) -> None:
    """A POST whose pooled connection died under it is refused, not repeated."""
    edge.node.ask(plain_request("GET", b"/pub/warm"))

    def die(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.close()

    with edge.paper.scripted(die):
        answer = edge.node.ask(plain_request("POST", b"/pub/once", [], b"buy"))
    assert answer.code in {"upstream_broken", "upstream_unreachable"}, str(answer)
    assert len([request for request in edge.paper.requests if request.target == b"/pub/once"]) == 1


def test_a_client_that_leaves_early_poisons_no_pooled_connection(edge: Deployment) -> None:
    """The answer that nobody waited for is not the next client's."""

    def slowly(exchange: Exchange) -> None:
        exchange.read_body()
        time.sleep(0.1)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabandoned")

    with edge.paper.scripted(slowly):
        for _ in range(10):
            with edge.node.connect() as connection:
                connection.send(plain_request("GET", b"/pub/gone"))
