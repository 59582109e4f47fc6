"""Seeded mutations of valid requests, aware of their structure: lines, headers, sizes, targets and chunks.

HEAD is not among the methods: whether an answer has a body could not be told when several are sent at once.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

from tests.support.signing import Headers, Signer, plain_request

Mutation = Callable[[random.Random, bytes], bytes]

_INTERESTING = [
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b":",
    b"%",
    b"/",
    b"?",
    b"#",
    b";",
    b"\x80",
    b"\xff",
    b",",
    b"_",
    b"\x7f",
]
_SIZES = [
    b"0",
    b"-1",
    b"+1",
    b"1",
    b"00",
    b"4294967296",
    b"9223372036854775808",
    b"18446744073709551616",
    b"1e9",
    b"0x10",
    b" 5",
    b"5 ",
    b"5, 5",
    b"9" * 300,
    b"",
]
_TARGETS = [
    b"*",
    b"/",
    b"//",
    b"/..",
    b"/%2e%2e",
    b"http://a/pub/x",
    b"/pub/x#",
    b"/pub/" + b"a" * 9_000,
    b"?",
    b"/pub/\xff",
    b"/pub/%00",
    b"a:1",
    b"/pub/x?" + b"&" * 9_000,
    b"/edge/v1/whoami",
    b"/health/ready",
    b"/metrics",
    b"/edge/v1/signature-check",
    b"/control/v1/keys",
    b"/.well-known/identity-jwks.json",
]
_METHODS = [
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"PRI",
    b"get",
    b"G T",
    b"",
    b"A" * 300,
    b"PROPFIND",
    b"\xff",
]
_VERSIONS = [
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/1.10",
    b"http/1.1",
    b"HTTP",
    b"",
    b"HTTP/1.1 x",
]
_HEADERS = [
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Content-Length: 5",
    b"Connection: close",
    b"Connection: upgrade",
    b"Upgrade: h2c",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Host: other.test",
    b"Host:",
    b"Portreeve-Key: x",
    b"Portreeve_Identity: x",
    b"Authorization: Bearer x",
    b"Trailer: x",
    b"TE: trailers",
    b"Content-Type: \xff\xfe",
    b"Cookie: " + b"c" * 5_000,
    b"X-Forwarded-For: ,,,",
    b'Forwarded: for="[::1',
    b"traceparent: 00-0",
    b"Content-Encoding: gzip",
    b"Range: bytes=0-",
]


def flip_bytes(chance: random.Random, wire: bytes) -> bytes:
    spoilt = bytearray(wire)
    for _ in range(chance.randint(1, 4)):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def insert_bytes(chance: random.Random, wire: bytes) -> bytes:
    at = chance.randrange(len(wire))
    return wire[:at] + chance.choice(_INTERESTING) * chance.choice([1, 1, 2, 50]) + wire[at:]


def cut(chance: random.Random, wire: bytes) -> bytes:
    begin = chance.randrange(len(wire))
    return wire[:begin] + wire[begin + chance.choice([1, 2, 10, len(wire)]) :]


def change_line(chance: random.Random, wire: bytes) -> bytes:
    line, _, rest = wire.partition(b"\r\n")
    parts = (line.split(b" ") + [b""] * 3)[:3]
    which = chance.randrange(3)
    parts[which] = chance.choice((_METHODS, _TARGETS, _VERSIONS)[which])
    return b" ".join(parts) + b"\r\n" + rest


def _with_lines(wire: bytes, change: Callable[[list[bytes]], None]) -> bytes:
    head, _, body = wire.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    change(lines)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def add_header(chance: random.Random, wire: bytes) -> bytes:
    return _with_lines(
        wire, lambda lines: lines.insert(chance.randint(1, len(lines)), chance.choice(_HEADERS))
    )


def repeat_header(chance: random.Random, wire: bytes) -> bytes:
    def repeat(lines: list[bytes]) -> None:
        line = chance.choice(lines)
        spelt = chance.choice([line, line.upper(), line.lower()])
        lines.insert(chance.randint(1, len(lines)), spelt)
        lines.extend([line] * chance.choice([0, 0, 1, 200]))

    return _with_lines(wire, repeat)


def drop_header(chance: random.Random, wire: bytes) -> bytes:
    def drop(lines: list[bytes]) -> None:
        lines.pop(chance.randrange(len(lines)))

    return _with_lines(wire, drop)


def change_value(chance: random.Random, wire: bytes) -> bytes:
    def change(lines: list[bytes]) -> None:
        at = chance.randrange(len(lines))
        name = lines[at].partition(b":")[0]
        values = [*_SIZES, chance.randbytes(chance.randrange(40)), b"a" * 40_000, b"(" * 200, b'"']
        lines[at] = name + chance.choice([b": ", b":", b" : ", b"\t:"]) + chance.choice(values)

    return _with_lines(wire, change)


def change_size(chance: random.Random, wire: bytes) -> bytes:
    head, _, body = wire.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    lines.append(b"Content-Length: " + chance.choice(_SIZES))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunk_badly(chance: random.Random, wire: bytes) -> bytes:
    head, _, body = wire.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    size = chance.choice([b"%x" % len(body), *_SIZES, b"%x;ext" % len(body), b"%x\n" % len(body)])
    end = chance.choice([b"0\r\n\r\n", b"0\r\n", b"0\r\nX: y\r\n\r\n", b"", b"0\n\n", b"-0\r\n\r\n"])
    return (
        b"\r\n".join([*lines, b"Transfer-Encoding: chunked"])
        + b"\r\n\r\n"
        + size
        + b"\r\n"
        + body
        + b"\r\n"
        + end
    )


def bare_feeds(chance: random.Random, wire: bytes) -> bytes:
    return wire.replace(b"\r\n", chance.choice([b"\n", b"\r", b"\n\r", b"\r\r\n"]), chance.choice([1, 2, -1]))


def join(chance: random.Random, wire: bytes) -> bytes:
    return wire + chance.choice([wire, wire[: len(wire) // 2], b"\x00" * 10, b"\r\n\r\n\r\n"])


MUTATIONS: list[Mutation] = [
    flip_bytes,
    insert_bytes,
    cut,
    change_line,
    add_header,
    repeat_header,
    drop_header,
    change_value,
    change_size,
    chunk_badly,
    bare_feeds,
    join,
]


def seeds(signers: list[Signer]) -> list[Callable[[], bytes]]:
    """Valid requests to start from, made anew each time, so that timestamps and nonces are fresh."""
    some: Headers = [("User-Agent", "a"), ("Accept", "*/*"), ("Content-Type", "application/json")]
    body = b'{"symbol":"BTC-EUR","qty":1}'
    plain: list[Callable[[], bytes]] = [
        lambda: plain_request("GET", b"/pub/x?a=b", some),
        lambda: plain_request("POST", b"/pub/x", some, body),
        lambda: plain_request("GET", b"/edge/v1/time", some),
    ]
    signed: list[Callable[[], bytes]] = [
        functools.partial(signer.request, method, b"/paper/v1/echo?a=b", content, extra=some)
        for signer in signers
        for method, content in (("GET", b""), ("POST", body))
    ]
    return [*plain, *signed]


def mutated(chance: random.Random, makers: list[Callable[[], bytes]]) -> bytes:
    """One valid request, spoilt up to three times; now and then left as it is."""
    wire = chance.choice(makers)()
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        if wire:
            wire = chance.choice(MUTATIONS)(chance, wire)
    return wire
