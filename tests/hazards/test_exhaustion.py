"""Hazards, "Paths, headers, framing": what is slow, endless or giant meets a limit; memory stays flat."""

from __future__ import annotations

import contextlib
import gzip
import resource
import time
from collections.abc import Iterator

import pytest

from tests.support import rawhttp
from tests.support.gateway import Deployment, Node, deployed, wait_until
from tests.support.recording_upstream import Exchange
from tests.support.signing import plain_request

MIB = 1024 * 1024
# How far a process may grow under attack; a leak of any of these would pass it by far.
SLACK = 24 * MIB
IDLE_CONNECTIONS = 2_000
MOST_CONNECTIONS = 2_200
BODY_BUDGET = 1_100_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A gateway of little patience and little room."""
    with _many_files():
        server = {
            "header_timeout_ms": 1_000,
            "body_timeout_ms": 1_000,
            "keep_alive_ms": 2_500,
            "max_connections": MOST_CONNECTIONS,
            "body_budget_bytes": BODY_BUDGET,
        }
        with deployed(tmp_path_factory.mktemp("small"), changes={"server": server}) as deployment:
            deployment.key()
            yield deployment


@contextlib.contextmanager
def _many_files() -> Iterator[None]:
    """Sockets are files, and two thousand are more than a shell's default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * MOST_CONNECTIONS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} open files, and {hard} is the most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def _flat(node: Node, slack: int = SLACK) -> Iterator[None]:
    before = node.resident_bytes()
    yield
    grown = node.resident_bytes() - before
    assert grown < slack, f"grown by {grown / MIB:.1f} MiB"


def still_serves(deployment: Deployment) -> None:
    answer = deployment.node.ask(deployment.key().request("GET", b"/paper/v1/orders"))
    assert answer.status == 200, str(answer)


def test_slow_headers_end_with_the_header_timeout(small: Deployment) -> None:
    """A head that dribbles in is cut at its deadline, however steadily it dribbles."""
    with small.node.connect() as connection:
        connection.send(b"GET /pub/x HTTP/1.1\r\nHost: gateway.test\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 8 and connection.send(b"X-A: b\r\n"):
            if connection.has_input(0.2):
                break
        answer = connection.read()
        assert answer.code == "malformed_request", str(answer)
        assert connection.closes()


def test_a_connection_that_says_nothing_is_closed(small: Deployment) -> None:
    """Nor may one be held open by silence, or by blank lines before a request."""
    for words in (b"", b"\r\n\r\n"):
        with small.node.connect() as connection:
            connection.send(words)
            assert connection.closes(within=8)


def test_a_slow_body_ends_with_the_body_timeout(small: Deployment) -> None:
    """A body that dribbles in is cut at its deadline, whether framed by length or by chunks."""
    lengths = plain_request("POST", b"/pub/x", [("Content-Length", "1000")])
    chunks = plain_request("POST", b"/pub/x", [("Transfer-Encoding", "chunked")])
    for head, piece in ((lengths, b"a"), (chunks, b"1\r\na\r\n")):
        with small.node.connect() as connection:
            connection.send(head)
            began = time.monotonic()
            while time.monotonic() - began < 8 and connection.send(piece):
                if connection.has_input(0.2):
                    break
            answer = connection.read()
            assert 400 <= answer.status < 500, str(answer)
            assert answer.code is not None
            assert connection.closes()


def test_giant_heads_are_refused_by_name(small: Deployment) -> None:
    """Too many headers, too large ones, too long a target: 431 or 400, and nothing is kept."""
    many = [(f"X-{number}", "b") for number in range(5_000)]
    giants = [
        plain_request("GET", b"/pub/x", [("X-A", "a" * 4 * MIB)]),
        plain_request("GET", b"/pub/x", [("X-" + "a" * 200_000, "b")]),
        plain_request("GET", b"/pub/x", many),
        plain_request("GET", b"/pub/" + b"x" * 200_000),
        plain_request("GET", b"/pub/x", [("Cookie", "c=" + "d" * 40_000)]),
        b"G" * 200_000,
    ]
    with _flat(small.node):
        for giant in giants * 5:
            with small.node.connect() as connection:
                answer = connection.ask(giant)
                assert answer.status in {400, 414, 431}, str(answer)
                assert answer.code in {"headers_too_large", "malformed_request"}, str(answer)
    still_serves(small)


def test_never_ending_heads_are_cut(small: Deployment) -> None:
    """Headers without an end, sent as fast as the wire takes them, stop at the limit."""
    with _flat(small.node), small.node.connect() as connection:
        connection.send(b"GET /pub/x HTTP/1.1\r\nHost: gateway.test\r\n")
        for _ in range(2_000):
            if not connection.send(b"X-A: " + b"a" * 10_000 + b"\r\n"):
                break
        assert connection.read().code == "headers_too_large"


def test_a_body_beyond_the_routes_limit_is_refused_before_it_is_sent(small: Deployment) -> None:
    """A declared length is believed only to refuse by it."""
    for length in ("65537", "999999999999"):
        with small.node.connect() as connection:
            answer = connection.ask(plain_request("POST", b"/pub/x", [("Content-Length", length)]))
            assert answer.code == "body_too_large", str(answer)
            assert connection.closes()


def test_a_never_ending_body_is_cut(small: Deployment) -> None:
    """Chunks without an end stop at the route's limit, and memory does not follow them."""
    head = plain_request("POST", b"/pub/x", [("Transfer-Encoding", "chunked")])
    chunk = b"%x\r\n%b\r\n" % (32_768, b"a" * 32_768)
    with _flat(small.node):
        for _ in range(3):
            with small.node.connect() as connection:
                connection.send(head)
                for _ in range(1_000):
                    if not connection.send(chunk):
                        break
                assert connection.read().code == "body_too_large"
    assert not [request for request in small.paper.requests if len(request.body) > 65_536]
    still_serves(small)


def test_many_tiny_chunks_cost_no_more_than_their_bytes(small: Deployment) -> None:
    """Sixty thousand chunks of one byte are a body of sixty thousand bytes."""
    body = b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n"
    with _flat(small.node):
        answer = small.node.ask(plain_request("POST", b"/pub/x", [("Transfer-Encoding", "chunked")]) + body)
    assert answer.status == 200, str(answer)
    assert small.paper.requests[-1].body == b"a" * 60_000


def test_a_decompression_bomb_stays_packed(small: Deployment) -> None:
    """The gateway passes compressed bytes on as they are: sixty megabytes of zeros stay sixty kilobytes."""
    bomb = gzip.compress(bytes(60 * MIB))
    assert len(bomb) < 65_536
    with _flat(small.node):
        answer = small.node.ask(plain_request("POST", b"/pub/x", [("Content-Encoding", "gzip")], bomb))
    assert answer.status in {200, 400}, str(answer)
    if answer.status == 200:
        assert small.paper.requests[-1].body == bomb


def test_bodies_in_flight_share_a_budget(small: Deployment) -> None:
    """Eight bodies of half a megabyte against a budget of one: two fit, the others hear `overloaded`."""
    body, target = b"a" * 500_000, b"/paper/v1/echo"
    wires = [small.key().request("POST", target, body) for _ in range(8)]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(small.node.connect()) for _ in wires]
        for connection, wire in zip(connections, wires, strict=True):
            connection.send(wire[:-1])
        # Who ends gives back what it held. So nobody does before all that do not fit have heard so.
        unfit = len(wires) - BODY_BUDGET // len(body)
        wait_until(lambda: sum(each.has_input(0.01) for each in connections) >= unfit, 10, "refusals")
        for connection in connections:
            connection.send(b"a")
        answers = [connection.read() for connection in connections]
    assert {answer.code for answer in answers} == {None, "overloaded"}
    assert [answer.status for answer in answers].count(200) <= BODY_BUDGET // len(body)
    # What was held has been given back.
    assert small.node.ask(small.key().request("POST", target, body)).status == 200


def test_abandoned_requests_leave_nothing_behind(small: Deployment) -> None:
    """A thousand clients that go away in the middle of a head or a body cost nothing afterwards."""
    with _flat(small.node):
        for number in range(1_000):
            with small.node.connect() as connection:
                half = plain_request("POST", b"/pub/x", [("Content-Length", "1000")]) + b"a" * 500
                connection.send(half[: 20 + number % 300])
    still_serves(small)


def test_idle_connections_are_bounded_and_let_go(small: Deployment) -> None:
    """Two thousand idle keep-alive connections hold nobody up, are bounded in number and end in time."""
    wire = plain_request("GET", b"/health/live")
    with contextlib.ExitStack() as stack, _flat(small.node, 96 * MIB):
        idle = [stack.enter_context(small.node.connect()) for _ in range(IDLE_CONNECTIONS)]
        for connection in idle[:200]:
            assert connection.ask(wire).status == 200
        still_serves(small)
        beyond = [
            stack.enter_context(small.node.connect()) for _ in range(MOST_CONNECTIONS - IDLE_CONNECTIONS + 50)
        ]
        refused = [answer for connection in beyond if (answer := _refusal(connection, wire))]
        assert refused, "there is no bound on connections"
        assert all(connection.closes(within=10) for connection in idle)
    wait_until(lambda: small.node.ask(wire).status == 200, 5, "connections are accepted again")
    still_serves(small)


def _refusal(connection: rawhttp.Connection, wire: bytes) -> str | None:
    """How a connection beyond the bound ends: with `overloaded`, or closed; None when it is served."""
    try:
        answer = connection.ask(wire)
    except rawhttp.Truncated:
        return "closed"
    if answer.status == 200:
        return None
    assert answer.code == "overloaded", str(answer)
    return "overloaded"


def test_a_client_that_does_not_read_holds_no_memory(small: Deployment) -> None:
    """A large answer to somebody who never reads stays with the upstream."""
    size = 64 * MIB
    block = b"z" * MIB

    def large(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // MIB):
            exchange.send(block)

    with small.paper.scripted(large), _flat(small.node), small.node.connect() as connection:
        connection.send(plain_request("GET", b"/pub/x"))
        time.sleep(1)
        still_alive = small.node.ask(plain_request("GET", b"/health/live"))
        assert still_alive.status == 200
