"""The demo upstream over a real socket: what it was sent is what it says."""

import asyncio
import base64
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.demo import trading, upstream, wire

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ORDER = b'{"symbol":"ACME","side":"buy","quantity":"2","price":"40"}'


async def identify(assertion: str, _: wire.Request) -> str:
    if not assertion.startswith("partner:"):
        raise trading.NotIdentified("it does not hold")
    return assertion.removeprefix("partner:")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = trading.Trading("paper", identify, lambda: 1_763_596_800_123)
    async with upstream.listening(app.answer, socket.create_server(("127.0.0.1", 0))) as port:
        yield port


@pytest.fixture
async def connection(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()
    await writer.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split(" ")[1]), headers


async def ask(connection: Wire, request: bytes) -> tuple[int, dict[str, str], Any]:
    reader, writer = connection
    writer.write(request)
    status, headers = await read_head(reader)
    body = await reader.readexactly(int(headers["content-length"]))
    return status, headers, json.loads(body) if body else None


def as_partner(method: str, target: str, body: bytes = b"", partner: str = "acme") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: t\r\nPortreeve-Identity: partner:{partner}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_echo_shows_the_request_byte_for_byte(connection: Wire) -> None:
    """Order, repetition and case of headers, the whole target and the body come back unchanged."""
    status, _, seen = await ask(
        connection,
        b"PATCH /echo/%41//x;y?b=2&a=1&&b=%zz HTTP/1.1\r\nhOsT: t\r\nX-A: 1\r\nx-b: \xe9\r\nX-A: 1\r\n"
        b"X_C: 3\r\nContent-Length: 3\r\n\r\n\x00\xffz",
    )
    assert status == 200
    assert seen == {
        "method": "PATCH",
        "target": "/echo/%41//x;y?b=2&a=1&&b=%zz",
        "headers": [
            ["hOsT", "t"],
            ["X-A", "1"],
            ["x-b", "é"],
            ["X-A", "1"],
            ["X_C", "3"],
            ["Content-Length", "3"],
        ],
        "body_hex": "00ff7a",
    }


async def test_trailers_never_join_the_headers(connection: Wire) -> None:
    """A field after a chunked body is not shown as if it had come before it."""
    _, _, seen = await ask(
        connection,
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n",
    )
    assert seen["headers"] == [["Host", "t"], ["Transfer-Encoding", "chunked"]]
    assert seen["body_hex"] == b"hi".hex()


async def test_pipelined_requests_are_answered_in_order(connection: Wire) -> None:
    """Two requests in one packet get two answers, the first one's first."""
    reader, writer = connection
    writer.write(b"GET /echo?1 HTTP/1.1\r\nHost: t\r\n\r\nGET /echo?2 HTTP/1.1\r\nHost: t\r\n\r\n")
    targets = []
    for _ in range(2):
        _, headers = await read_head(reader)
        targets.append(json.loads(await reader.readexactly(int(headers["content-length"])))["target"])
    assert targets == ["/echo?1", "/echo?2"]


async def test_a_request_split_anywhere_is_one_request(connection: Wire) -> None:
    """The target and headers survive arriving a byte at a time."""
    reader, writer = connection
    for byte in b"GET /echo?whole HTTP/1.1\r\nHost: t\r\nX-Long: abcdef\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
    _, headers = await read_head(reader)
    seen = json.loads(await reader.readexactly(int(headers["content-length"])))
    assert seen["target"] == "/echo?whole"
    assert seen["headers"] == [["Host", "t"], ["X-Long", "abcdef"]]


async def test_head_is_answered_without_a_body(connection: Wire) -> None:
    """The next answer on the connection begins right after the head."""
    reader, writer = connection
    writer.write(b"HEAD /echo HTTP/1.1\r\nHost: t\r\n\r\n")
    status, headers = await read_head(reader)
    assert status == 200
    assert int(headers["content-length"]) > 0
    assert (await ask(connection, b"GET /echo HTTP/1.1\r\nHost: t\r\n\r\n"))[0] == 200


async def test_what_is_not_http_is_refused_and_closed(connection: Wire) -> None:
    """Garbage gets a 400 and the end of the connection."""
    reader, writer = connection
    writer.write(b"nonsense\r\n\r\n")
    assert (await read_head(reader))[0] == 400
    assert await reader.read() == b""


async def test_a_body_past_the_limit_is_refused(connection: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by a limit with a name."""
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 3)
    reader, writer = connection
    writer.write(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nabcd")
    assert (await read_head(reader))[0] == 413
    assert await reader.read() == b""


async def test_connection_close_is_honoured(connection: Wire) -> None:
    """Who asks for the end of the connection gets it after the answer."""
    reader, writer = connection
    writer.write(b"GET /slow?ms=0 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    status, headers = await read_head(reader)
    assert (status, headers["connection"]) == (200, "close")
    assert await reader.readexactly(int(headers["content-length"])) == b'{"slept_ms":0}'
    assert await reader.read() == b""


async def test_streamed_bytes_are_chunked_and_count(connection: Wire) -> None:
    """Exactly n bytes come, counting 0 to 255 over and over."""
    reader, writer = connection
    writer.write(b"GET /stream-bytes?n=40000 HTTP/1.1\r\nHost: t\r\n\r\n")
    _, headers = await read_head(reader)
    assert headers["transfer-encoding"] == "chunked"
    body = b""
    while size := int((await reader.readline()).strip(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    assert body == (bytes(range(256)) * 157)[:40_000]


@pytest.mark.parametrize("query", ["", "?ms=", "?ms=-1", "?ms=60001", "?ms=1&ms=2", "?ms=1e3", "?ms=%D9%A1"])
async def test_slow_refuses_other_than_one_bounded_number(connection: Wire, query: str) -> None:
    """A pause is asked for once, in whole milliseconds, and has an upper end."""
    status, _, body = await ask(connection, f"GET /slow{query} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    assert (status, body["error"]["code"]) == (400, "invalid_query")


async def test_orders_live_from_creation_to_cancellation(connection: Wire) -> None:
    """Create, list, get and cancel show one order in its states."""
    status, headers, order = await ask(connection, as_partner("POST", "/orders", ORDER))
    assert (status, headers["location"]) == (201, f"/orders/{order['id']}")
    assert order["state"] == "open"
    _, _, listed = await ask(connection, as_partner("GET", "/orders?symbol=ACME"))
    assert listed == {"environment": "paper", "orders": [order]}
    assert (await ask(connection, as_partner("GET", "/orders?symbol=OTHER")))[2]["orders"] == []
    assert (await ask(connection, as_partner("GET", f"/orders/{order['id']}")))[2] == order
    status, _, cancelled = await ask(connection, as_partner("DELETE", f"/orders/{order['id']}"))
    assert (status, cancelled["state"]) == (200, "cancelled")
    assert (await ask(connection, as_partner("DELETE", f"/orders/{order['id']}")))[0] == 409


async def test_partners_do_not_see_each_other(connection: Wire) -> None:
    """An order is found by the partner that placed it, and by nobody else."""
    _, _, order = await ask(connection, as_partner("POST", "/orders", ORDER))
    status, _, body = await ask(connection, as_partner("GET", f"/orders/{order['id']}", partner="borealis"))
    assert (status, body["error"]["code"]) == (404, "unknown_order")


async def test_positions_name_their_environment(connection: Wire) -> None:
    """Paper and live answers can't be mistaken for each other."""
    await ask(connection, as_partner("POST", "/orders", ORDER.replace(b'"price":"40"', b'"type":"market"')))
    _, _, body = await ask(connection, as_partner("GET", "/positions"))
    assert body == {"environment": "paper", "positions": [{"symbol": "ACME", "qty": "2"}]}


@pytest.mark.parametrize(
    "identity",
    [
        b"",
        b"Portreeve-Identity: forged\r\n",
        b"Portreeve-Identity: partner:a\r\nportreeve-identity: partner:b\r\n",
    ],
    ids=["none", "forged", "two"],
)
@pytest.mark.parametrize("target", [b"/orders", b"/orders/ord-1", b"/positions", b"/ticks"])
async def test_trading_asks_for_one_identity_that_holds(
    connection: Wire, identity: bytes, target: bytes
) -> None:
    """No assertion, a forged one and two of them are all refused."""
    status, _, body = await ask(connection, b"GET %b HTTP/1.1\r\nHost: t\r\n%b\r\n" % (target, identity))
    assert (status, body["error"]["code"]) == (401, "not_identified")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /", 404),
        ("GET /orders/", 404),
        ("GET /echoes", 404),
        ("PUT /orders", 405),
        ("POST /positions", 405),
    ],
)
async def test_other_paths_and_methods_are_not_there(
    connection: Wire, request_line: str, status: int
) -> None:
    """What is not served is 404, and a served path says which methods it has."""
    method, target = request_line.split(" ")
    answered, headers, _ = await ask(connection, as_partner(method, target))
    assert answered == status
    assert ("allow" in headers) == (status == 405)


HANDSHAKE = (
    b"GET /ticks HTTP/1.1\r\nHost: t\r\nPortreeve-Identity: partner:acme\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def masked(opcode: int, payload: bytes) -> bytes:
    mask = b"\x01\x02\x03\x04"
    hidden = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + hidden


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2))
    return first & 0x0F, await reader.readexactly(size)


async def test_ticks_speak_websocket(connection: Wire) -> None:
    """The handshake is accepted, a tick comes as text, a ping comes back, and a close is answered."""
    reader, writer = connection
    writer.write(HANDSHAKE + masked(0x9, b"hello"))
    status, headers = await read_head(reader)
    expected = base64.b64encode(
        hashlib.sha1(
            b"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False
        ).digest()
    ).decode()
    assert (status, headers["sec-websocket-accept"]) == (101, expected.lower())
    frames = dict([await read_frame(reader), await read_frame(reader)])
    assert json.loads(frames[0x1])["tick"] == 1
    assert frames[0xA] == b"hello"
    writer.write(masked(0x8, b"\x03\xe8"))
    while (frame := await read_frame(reader))[0] != 0x8:
        pass
    assert frame[1] == b"\x03\xe8"
    assert await reader.read() == b""


async def test_ticks_refuse_what_is_no_handshake(connection: Wire) -> None:
    """A plain GET learns which upgrade is wanted."""
    status, headers, _ = await ask(connection, as_partner("GET", "/ticks"))
    assert (status, headers["upgrade"]) == (426, "websocket")


async def test_unmasked_frames_end_the_conversation(connection: Wire) -> None:
    """A client that doesn't mask breaks the protocol and is told so."""
    reader, writer = connection
    writer.write(HANDSHAKE + b"\x81\x02hi")
    await read_head(reader)
    while (frame := await read_frame(reader))[0] != 0x8:
        pass
    assert int.from_bytes(frame[1]) == 1002
