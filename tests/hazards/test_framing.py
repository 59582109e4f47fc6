"""Hazards, "Paths, headers, framing": bytes of one request never become another."""

from __future__ import annotations

import time

import pytest

from tests.support import rawhttp
from tests.support.gateway import Deployment
from tests.support.signing import plain_request

# What every attack tries to slip in: a request for the trap route. It must never reach an upstream.
INNER = b"GET /admin/smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
HEAD = b"POST /pub/x HTTP/1.1\r\nHost: gateway.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# Each must be answered 400 and its connection closed.
REFUSED = {
    "length beside chunks": HEAD + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + INNER,
    "chunks beside length": HEAD + CHUNKED + b"Content-Length: 60\r\n\r\n0\r\n\r\n" + INNER,
    "length zero beside chunks": HEAD + b"Content-Length: 0\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + INNER,
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 60\r\n\r\nhello" + INNER,
    "two equal lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + INNER,
    "joined lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello" + INNER,
    "signed length": HEAD + b"Content-Length: +5\r\n\r\nhello" + INNER,
    "negative length": HEAD + b"Content-Length: -5\r\n\r\nhello" + INNER,
    "hexadecimal length": HEAD + b"Content-Length: 0x5\r\n\r\nhello" + INNER,
    "spaced length": HEAD + b"Content-Length: 5 5\r\n\r\nhello" + INNER,
    "empty length": HEAD + b"Content-Length: \r\n\r\nhello" + INNER,
    "length past 64 bits": HEAD + b"Content-Length: 18446744073709551621\r\n\r\nhello" + INNER,
    "length with underscore": HEAD + b"Content-Length: 1_0\r\n\r\nhello" + INNER,
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunked and a tab inside": HEAD + b"Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n" + INNER,
    "vertical tab chunked": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + INNER,
    "gzip then chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunked then identity": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INNER,
    "identity line and chunked line": HEAD
    + b"Transfer-Encoding: identity\r\n"
    + CHUNKED
    + b"\r\n0\r\n\r\n"
    + INNER,
    "two chunked lines": HEAD + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + INNER,
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + INNER,
    "identity alone": HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello" + INNER,
    "empty coding": HEAD + b"Transfer-Encoding: \r\nContent-Length: 5\r\n\r\nhello" + INNER,
    "quoted coding": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + INNER,
    "coding in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n" + INNER,
    "space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + INNER,
    "tab before the colon": HEAD + b"Content-Length\t: 5\r\n\r\nhello" + INNER,
    "space before the first header": b"GET /pub/x HTTP/1.1\r\n Host: gateway.test\r\nX-A: b\r\n\r\n" + INNER,
    "obs-fold": HEAD + b"X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + INNER,
    "obs-fold of the coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + INNER,
    "NUL in a value": HEAD + b"X-A: b\x00c\r\nContent-Length: 0\r\n\r\n" + INNER,
    "CR in a value": HEAD + b"X-A: b\rContent-Length: 60\r\nContent-Length: 0\r\n\r\n" + INNER,
    "NUL in a name": HEAD + b"X-\x00A: b\r\nContent-Length: 0\r\n\r\n" + INNER,
    "LF in a value": HEAD + b"X-A: b\nContent-Length: 60\r\nContent-Length: 0\r\n\r\n" + INNER,
    "DEL in a value": HEAD + b"X-A: b\x7f\r\nContent-Length: 0\r\n\r\n" + INNER,
    "control in a value": HEAD + b"X-A: b\x01c\r\nContent-Length: 0\r\n\r\n" + INNER,
    "bare LF everywhere": INNER.replace(b"\r\n", b"\n"),
    "bare LF after a header": HEAD + b"X-A: b\nX-B: c\r\nContent-Length: 0\r\n\r\n" + INNER,
    "bare LF at the end of the head": HEAD + b"Content-Length: 0\r\n\n" + INNER,
    "bare CR at the end of the head": HEAD + b"Content-Length: 0\r\n\r" + INNER,
    "no colon": HEAD + b"Just words\r\nContent-Length: 0\r\n\r\n" + INNER,
    "empty name": HEAD + b": b\r\nContent-Length: 0\r\n\r\n" + INNER,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /pub/x\r\n\r\n",
    "HTTP/1.10": b"GET /pub/x HTTP/1.10\r\nHost: gateway.test\r\n\r\n" + INNER,
    "HTTP/3.0": b"GET /pub/x HTTP/3.0\r\nHost: gateway.test\r\n\r\n" + INNER,
    "http in lower case": b"GET /pub/x http/1.1\r\nHost: gateway.test\r\n\r\n" + INNER,
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(64),
    "nothing but NULs": bytes(256),
}

# Each must be answered 400. Its end is not in doubt, so what follows may be served as the next request.
HOSTS = {
    "no host": b"GET /pub/x HTTP/1.1\r\n\r\n",
    "empty host": b"GET /pub/x HTTP/1.1\r\nHost: \r\n\r\n",
    "two hosts": b"GET /pub/x HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
    "joined hosts": b"GET /pub/x HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
    "host with a path": b"GET /pub/x HTTP/1.1\r\nHost: a.test/admin\r\n\r\n",
    "host with userinfo": b"GET /pub/x HTTP/1.1\r\nHost: u@a.test\r\n\r\n",
}

# Chunked bodies whose framing is broken somewhere: the bytes behind the head of a chunked request.
BROKEN_CHUNKS = {
    "size past 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size of all F": b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "size with prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-1\r\nhello\r\n0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "words for a size": b"five\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "no line end behind a chunk": b"5\r\nhello0\r\n\r\n",
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF behind a chunk": b"5\r\nhello\n0\r\n\r\n",
    "bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "last chunk of two lines of LF": b"5\r\nhello\r\n0\n\n",
}


def nothing_slipped_in(edge: Deployment) -> None:
    assert not [request for request in edge.paper.requests if request.target.startswith(b"/admin")]
    assert not edge.paper.garbage
    assert edge.node.is_alive()


@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_can_be_framed_in_two_ways_is_refused_and_closed(
    edge: Deployment, wire: bytes
) -> None:
    """One answer of 400 with our problem, then the end of the connection; nothing reaches the upstream."""
    with edge.node.connect() as connection:
        answer = connection.ask(wire)
        assert answer.status in {400, 505}, str(answer)
        assert answer.code in {"malformed_request", "malformed_headers", "malformed_path"}
        assert answer.header("connection") == "close"
        assert connection.closes()
    assert not edge.paper.received
    nothing_slipped_in(edge)


@pytest.mark.parametrize("wire", HOSTS.values(), ids=HOSTS.keys())
def test_a_request_without_exactly_one_good_host_is_refused(edge: Deployment, wire: bytes) -> None:
    """A request that could be meant for two hosts, or for none, is answered 400."""
    answer = edge.node.ask(wire)
    assert answer.status == 400, str(answer)
    assert answer.code == "malformed_headers"
    assert not edge.paper.received


@pytest.mark.parametrize(
    "header", [b"Transfer_Encoding: chunked", b"Content_Length: 60", b"Content_Length: 2"]
)
def test_framing_headers_spelt_with_an_underscore_frame_nothing(edge: Deployment, header: bytes) -> None:
    """They are refused or dropped; the body is what Content-Length says, and the rest the next request."""
    with edge.node.connect() as connection:
        answer = connection.ask(HEAD + header + b"\r\nContent-Length: 5\r\n\r\nhello" + INNER)
        assert answer.status in {200, 400}, str(answer)
        if answer.status == 200:
            assert connection.read().code in {"missing_credentials", "permission_denied"}
    assert [request.body for request in edge.paper.requests] == ([b"hello"] if answer.status == 200 else [])
    assert not edge.upstream_saw(b"_")
    nothing_slipped_in(edge)


@pytest.mark.parametrize("body", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS.keys())
def test_a_broken_chunk_ends_the_request_and_the_connection(edge: Deployment, body: bytes) -> None:
    """A body that breaks off is never read as whole: 400, closed, and no upstream sees a complete request."""
    with edge.node.connect() as connection:
        answer = connection.ask(HEAD + CHUNKED + b"\r\n" + body + INNER)
        assert answer.status == 400, str(answer)
        assert answer.code == "malformed_request"
        assert connection.closes()
    assert not edge.paper.requests
    nothing_slipped_in(edge)


@pytest.mark.parametrize(
    "body",
    [
        b"5;a=b\r\nhello\r\n0\r\n\r\n",
        b'5;a="b;c"\r\nhello\r\n0;x\r\n\r\n',
        b"005\r\nhello\r\n000\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX-Trailer: t\r\nPortreeve-Identity: forged\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 99\r\nHost: other.test\r\n\r\n",
    ],
    ids=["extension", "quoted extension", "padded sizes", "trailers", "framing in trailers"],
)
def test_odd_but_framed_chunks_are_refused_or_arrive_as_the_same_body(edge: Deployment, body: bytes) -> None:
    """Extensions and trailers end at the gateway: the upstream reads exactly the five bytes, or nothing."""
    with edge.node.connect() as connection:
        answer = connection.ask(HEAD + CHUNKED + b"\r\n" + body)
        assert answer.status in {200, 400}, str(answer)
        if answer.status == 200:
            assert connection.ask(plain_request("GET", b"/pub/next")).status == 200
    assert [request.body for request in edge.paper.requests if request.target == b"/pub/x"] == (
        [b"hello"] if answer.status == 200 else []
    )
    for leaked in (b"a=b", b"b;c", b"X-Trailer", b"forged", b"other.test"):
        assert not edge.upstream_saw(leaked), leaked
    nothing_slipped_in(edge)


def test_trailers_never_count_as_headers_of_a_signed_request(edge: Deployment) -> None:
    """Credentials that arrive behind the body are none."""
    target, body = b"/paper/v1/echo", b"hello"
    signed = edge.key().headers("POST", target, body)
    trailers = b"".join(f"{name}: {value}\r\n".encode() for name, value in signed)
    head = plain_request("POST", target, [("Transfer-Encoding", "chunked")])
    answer = edge.node.ask(head + b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n")
    assert answer.code in {"missing_credentials", "malformed_request"}, str(answer)


@pytest.mark.parametrize(
    "coding", [b"chunked\t", b"\tchunked", b"Chunked", b"CHUNKED ", b",chunked", b"chunked,", b"chunked;q=1"]
)
def test_a_coding_in_another_spelling_is_refused_or_framed_alike(edge: Deployment, coding: bytes) -> None:
    """Whatever is accepted as chunked is forwarded as one unambiguous body."""
    with edge.node.connect() as connection:
        answer = connection.ask(
            HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + INNER
        )
        assert answer.status in {200, 400}, str(answer)
        if answer.status == 200:
            assert connection.read().code in {"missing_credentials", "permission_denied"}
    assert [request.body for request in edge.paper.requests] == ([b"hello"] if answer.status == 200 else [])
    nothing_slipped_in(edge)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_a_body_on_a_method_without_one_stays_that_requests_body(edge: Deployment, method: str) -> None:
    """A body on GET or HEAD is refused or travels as a body; it is never the next request."""
    for wire in (
        plain_request(method, b"/pub/x", [], INNER),
        plain_request(method, b"/pub/x", [("Transfer-Encoding", "chunked")])
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER),
    ):
        with edge.node.connect() as connection:
            answer = connection.ask(wire, method)
            assert answer.status in {200, 400}, str(answer)
        bodies = [request.body for request in edge.paper.requests]
        assert bodies == ([INNER] if answer.status == 200 else [])
        assert not edge.paper.garbage
        edge.paper.clear()


def test_pipelined_requests_are_answered_one_by_one_in_order(edge: Deployment) -> None:
    """Twenty requests in one packet: twenty answers in order, each request alone at the upstream."""
    targets = [b"/pub/%d" % number for number in range(20)]
    answers = rawhttp.ask_all(
        edge.node.address, b"".join(plain_request("POST", target, [], target) for target in targets)
    )
    assert [answer.json()["target"].encode() for answer in answers] == targets
    assert [(request.target, request.body) for request in edge.paper.requests] == [(t, t) for t in targets]


def test_a_refused_request_does_not_desynchronise_the_pipeline(edge: Deployment) -> None:
    """Refusals with unread bodies between good requests: every answer belongs to its own request."""
    wire = (
        plain_request("GET", b"/pub/1")
        + plain_request("POST", b"/admin/x", [], b"b" * 2000)
        + plain_request("GET", b"/pub/2")
        + plain_request("POST", b"/paper/v1/small", [], b"c" * 2000)
        + plain_request("GET", b"/pub/3")
    )
    answers = rawhttp.ask_all(edge.node.address, wire)
    outcomes = [answer.json().get("target") or answer.code for answer in answers]
    # Closing behind a refusal is allowed; mixing answers up is not.
    whole = ["/pub/1", "missing_credentials", "/pub/2", "body_too_large", "/pub/3"]
    signed_first = ["/pub/1", "missing_credentials", "/pub/2", "missing_credentials", "/pub/3"]
    assert outcomes in (whole[: len(outcomes)], signed_first[: len(outcomes)])
    assert len(outcomes) >= 2
    assert {request.target for request in edge.paper.requests} <= {b"/pub/1", b"/pub/2", b"/pub/3"}


def test_bytes_behind_an_upgrade_request_never_reach_an_upstream(edge: Deployment) -> None:
    """An upgrade that nobody accepted opens no tunnel: neither for HTTP/2, nor a WebSocket, nor others."""
    for upgrade in ("h2c", "websocket", "TLS/1.2", "raw"):
        headers = [
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", upgrade),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ]
        answers = rawhttp.ask_all(edge.node.address, plain_request("GET", b"/pub/x", headers) + INNER)
        assert answers[0].status in {200, 400, 426}, str(answers[0])
        assert not any(answer.status == 101 for answer in answers)
        assert not edge.upstream_saw(b"upgrade")
        nothing_slipped_in(edge)


def test_expect_continue_is_answered_and_not_passed_on(edge: Deployment) -> None:
    """A client that waits gets its 100 before the body; another expectation is refused or ignored."""
    with edge.node.connect() as connection:
        connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        connection.send(b"hello")
        assert connection.read().status == 200
    assert edge.paper.requests[-1].body == b"hello"
    answer = edge.node.ask(HEAD + b"Expect: a miracle\r\nContent-Length: 5\r\n\r\nhello")
    assert answer.status in {200, 400, 417}, str(answer)


def test_one_request_byte_by_byte_is_one_request(edge: Deployment) -> None:
    """Packet borders mean nothing."""
    target, body = b"/paper/v1/echo?a=b", b'{"qty":1}'
    wire = edge.key().request("POST", target, body)
    with edge.node.connect() as connection:
        for at in range(len(wire)):
            connection.send(wire[at : at + 1])
        assert connection.read().status == 200
    assert [(request.target, request.body) for request in edge.paper.requests] == [(b"/echo?a=b", body)]


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(INNER), b""),
        (HEAD + CHUNKED + b"\r\n%x\r\n" % len(INNER), b"\r\n0\r\n\r\n"),
        (HEAD + b"Content-Length: 0\r\nX-A: ", b""),
        (HEAD + b"Content-Length: 0\r\nX-A: b\r\n", b""),
        (b"POST ", b""),
    ],
    ids=["a body", "a chunk", "a value", "a header", "a target"],
)
@pytest.mark.parametrize("kept", [False, True], ids=["first", "later"])
def test_a_packet_that_looks_like_a_request_inside_another_is_part_of_it(
    edge: Deployment, before: bytes, behind: bytes, *, kept: bool
) -> None:
    """Whoever chooses the borders of packets, such as a proxy's buffers, chooses no requests."""
    with edge.node.connect() as connection:
        if kept:
            assert connection.ask(plain_request("GET", b"/pub/first")).status == 200
        for packet in (before, INNER, behind):
            connection.send(packet)
            time.sleep(0.02)
        assert connection.read().status in {200, 400}
    bodies = [request.body for request in edge.paper.requests if request.target == b"/pub/x"]
    assert bodies in ([INNER], [])
    nothing_slipped_in(edge)


@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_is_refused_behind_a_good_request_too(edge: Deployment, wire: bytes) -> None:
    """On a connection that has been of use before."""
    with edge.node.connect() as connection:
        assert connection.ask(plain_request("GET", b"/pub/first")).status == 200
        answer = connection.ask(wire)
        assert answer.status in {400, 505}, str(answer)
        assert connection.closes()
    assert [request.target for request in edge.paper.requests] == [b"/pub/first"]
    nothing_slipped_in(edge)


def test_a_body_with_binary_and_chunk_like_bytes_arrives_unchanged(edge: Deployment) -> None:
    """What looks like framing inside a body is body."""
    body = bytes(range(256)) + b"\r\n0\r\n\r\n" + INNER
    assert edge.node.ask(edge.key().request("POST", b"/paper/v1/echo", body)).status == 200
    assert edge.paper.requests[-1].body == body
    assert not edge.paper.garbage


@pytest.mark.parametrize(
    "target", [b"/pub/x", b"/nowhere", b"/paper/v1/echo", b"/pub/%2e", b"/health/ready", b"/edge/v1/time"]
)
def test_an_answer_to_head_never_has_a_body(edge: Deployment, target: bytes) -> None:
    """Passed or refused, ours or an upstream's: a body behind HEAD would be read as the next answer."""
    with edge.node.connect() as connection:
        answer = connection.ask(plain_request("HEAD", target), "HEAD")
        assert answer.status in {200, 400, 401, 404, 405}
        if answer.header("connection") != "close":
            assert connection.ask(plain_request("GET", b"/pub/next")).json()["target"] == "/pub/next"
        else:
            assert connection.closes()
