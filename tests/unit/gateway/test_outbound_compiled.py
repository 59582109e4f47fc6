"""The request an upstream receives, composed in one compiled look: what the twin composes, to the byte."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import compiled
from gateway import outbound, paths, routes
from gateway.credentials.proof import Attached, taking
from gateway.stages.admit import Admitted
from gateway.stages.match_route import Routed
from gateway.upstream import SMALL_BODY, OutboundRequest
from tests.support.compiled import needs_the_room
from tests.support.stage_values import PUBLIC, REQUEST_ID, admitted, asserted, changed

if compiled.IS_USED:
    from compiled.outbound import Composer

pytestmark = needs_the_room

AUTHORITY = b"upstream.test:8080"
STRIPPED = msgspec.structs.replace(PUBLIC, strip_prefix=b"/a")
LINES = b"accept: */*\r\nx-sent: 1\r\n"
BODIES = st.binary(max_size=40) | st.sampled_from([b"x" * SMALL_BODY, b"x" * (SMALL_BODY + 1)])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
SENT = st.lists(
    st.tuples(st.sampled_from([b"accept", b"x-a", b"x-b", b"traceparent"]), st.binary(max_size=9))
)
# What a byte may be turned into that is not the same to whoever counts lines.
SPOILT = st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\r", b"\0", b"a", b""])

Told = tuple[bytes, bytes, bool, bool, int | None]


def told(prepared: OutboundRequest) -> Told:
    """All that can be compared: what follows piece by piece is another iterator each time."""
    rest = prepared.rest is not None
    return prepared.method, prepared.first, prepared.head_only, rest, prepared.length


def both(
    request: Admitted,
    route: routes.Route,
    assertion: str | None,
    body: bytes | AsyncIterator[bytes] = b"",
    attached: Attached | None = None,
) -> tuple[Told | str, Told | str]:
    """What each way makes of it, or what it complains of."""
    found: list[Told | str] = []
    for request_for in (outbound.request_for_ordinary, outbound.request_for_any):
        stated, routed = asserted(request, route, assertion), Routed(request, route)
        try:
            found.append(told(request_for(AUTHORITY, stated, routed, body, None, attached)))
        except ValueError as refused:
            found.append(str(refused))
    return found[0], found[1]


def asking(method: str = "GET", target: bytes = b"/a/b?c", passed: bytes = LINES, count: int = 2) -> Admitted:
    request = admitted()
    return msgspec.structs.replace(
        request,
        arrival=changed(request.arrival, method=method),
        target=paths.canonical_target(target),
        headers=msgspec.structs.replace(request.headers, passed=passed, passed_count=count),
    )


@given(METHODS, SENT, st.none() | st.text(max_size=20), BODIES, st.booleans(), st.booleans())
def test_both_ways_compose_the_same(  # each is a part of the request
    method: str,
    sent: list[tuple[bytes, bytes]],
    assertion: str | None,
    body: bytes,
    via_proxy: bool,
    is_stripped: bool,
) -> None:
    """Whatever the method, the headers, the caller and the body are, and whoever stands in front."""
    lines = b"".join(b"%b: %b\r\n" % line for line in sent)
    request = msgspec.structs.replace(asking(method, b"/a/b", lines, len(sent)), via_proxy=via_proxy)
    ordinary, twin = both(request, STRIPPED if is_stripped else PUBLIC, assertion, body)
    assert ordinary == twin


@given(st.integers(0, len(LINES)), st.integers(0, 2), SPOILT, st.integers(-1, 4))
@example(0, 0, b"", 2)
@example(11, 2, b"\n\r", 2)
def test_lines_that_are_spoilt_are_refused_or_go_on_as_the_twin_says(
    at: int, cut: int, spoilt: bytes, count: int
) -> None:
    """Whatever stands in the place of any bytes, and however many lines they should be."""
    passed = LINES[:at] + spoilt + LINES[at + cut :]
    ordinary, twin = both(asking(passed=passed, count=count), PUBLIC, "signed")
    assert ordinary == twin


def composed(
    *,
    passed: bytes = LINES,
    count: int = 2,
    request_id: str = REQUEST_ID,
    assertion: str | None = "signed",
    body: object = b"",
    may_end: bool = True,
) -> bytes | None:
    compose = Composer(SMALL_BODY).compose
    return compose(
        b"GET / HTTP/1.1\r\nhost: u\r\n", may_end, passed, count, b"o: 1\r\n", request_id, assertion, body
    )


@pytest.mark.parametrize(
    ("passed", "count"),
    [
        (b"", 1),
        (b"", -1),
        (b"a: 1\r\n", 0),
        (b"a: 1\r\n", 2),
        (b"a: 1\r\n", -1),
        (b"a: 1\r\nb: 2\r\n", 1),
        (b"a: 1", 0),
        (b"a: 1\r\nb: 2", 1),
        (b"a: \0\r\n", 1),
        (b"\0a: 1\r\n", 1),
        (b"a: 1\n", 1),
        (b"a: 1\r", 1),
        (b"a: 1\n\r", 1),
        (b"a: \n1\r\n", 1),
        (b"a: \r1\r\n", 1),
        (b"a: \r1\r\n", 2),
        (b"a: 1\r\r\n", 1),
        (b"a: \n1\rb: 2\r\n", 2),
    ],
)
def test_what_is_not_so_many_lines_is_left_to_the_twin(passed: bytes, count: int) -> None:
    """It says what is wrong with them, if anything is."""
    assert composed(passed=passed, count=count) is None


@pytest.mark.parametrize(
    "doubtful",
    [
        {"body": b"x" * (SMALL_BODY + 1)},
        {"body": bytearray(b"x")},
        {"body": None},
        {"request_id": REQUEST_ID[1:]},
        {"request_id": REQUEST_ID + "0"},
        {"request_id": "é" + REQUEST_ID[1:]},
        {"assertion": "é"},
        {"assertion": "€"},
    ],
)
def test_what_is_not_ordinary_is_left_to_the_twin(doubtful: dict[str, object]) -> None:
    """Nothing is composed of it, and nothing raised."""
    assert composed(**doubtful) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("passed", "count"), [(b"", 0), (b"a: 1\r\n", 1), (LINES, 2), (b"\r\n", 1)])
@pytest.mark.parametrize("body", [b"", b"x", b"\0\r\n", b"x" * SMALL_BODY])
def test_what_is_ordinary_is_composed(passed: bytes, count: int, body: bytes) -> None:
    """So that the comparisons above compare something."""
    head = composed(passed=passed, count=count, body=body)
    assert head is not None
    assert head.startswith(b"GET / HTTP/1.1\r\nhost: u\r\n" + passed + b"o: 1\r\nportreeve-request-id: ")
    framing = b"content-length: %d\r\n" % len(body) if body else b""
    assert head.endswith(b"\r\nportreeve-identity: signed\r\n" + framing + b"\r\n" + body)


def test_a_length_is_told_where_the_method_asks_for_one() -> None:
    """Some servers take a missing length for a missing body."""
    empty = composed(may_end=False)
    assert empty is not None
    assert empty.endswith(b"\r\ncontent-length: 0\r\n\r\n")


def test_what_is_attached_takes_the_place_of_what_the_client_sent() -> None:
    """In either way, since only the twin knows how."""
    attached = Attached(taking(("x-sent",)), b"x-sent: ours\r\n")
    ordinary, twin = both(asking(), PUBLIC, "signed", attached=attached)
    assert ordinary == twin
    assert b"x-sent: 1\r\n" not in ordinary[1]
    assert b"x-sent: ours\r\n" in ordinary[1]


def test_what_a_proxy_proved_goes_on_in_either_way() -> None:
    """Its scheme and its trace."""
    claimed = [
        (b"x-forwarded-proto", b"https"),
        (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00"),
    ]
    request = admitted(*claimed, via_proxy=True)
    prepared = outbound.request_for_ordinary(AUTHORITY, asserted(request), Routed(request, PUBLIC), b"")
    assert b"\r\nx-forwarded-proto: https\r\n" in prepared.first
    assert b"\r\ntraceparent: 00-" + b"a" * 32 in prepared.first


async def test_a_streamed_body_is_left_to_the_twin() -> None:
    """It is sent in chunks."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    body = pieces()
    ordinary, twin = both(asking("POST"), PUBLIC, None, body)
    assert ordinary == twin
    assert ordinary[1].endswith(b"transfer-encoding: chunked\r\n\r\n")  # type: ignore[arg-type]
    await body.aclose()  # type: ignore[attr-defined]
