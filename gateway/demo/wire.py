"""A very small HTTP/1.1 server that hands a request on exactly as it came.

Invariant: method, target, header names and values, their order and their repetitions reach the
answering function untouched, because an echo that tidies up proves nothing. Trailers never join the headers.

It refuses bytes that are no HTTP request (400) and bodies past `MAX_BODY_BYTES` (413), closing
the connection each time. It knows no routes, and it is a demo: no timeouts, loopback only.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final

import httptools
import msgspec

READ_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 16 * 1024 * 1024

Headers = tuple[tuple[str, str], ...]
# What speaks on after a 101: it gets the bytes that came with the request, then both ends of the wire.
Conversation = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Request(msgspec.Struct, frozen=True):
    method: str
    target: str  # latin-1, like the headers: every byte survives the round trip
    headers: Headers
    body: bytes = b""
    keep_alive: bool = True

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


class Response(msgspec.Struct, frozen=True):
    status: int
    body: bytes | AsyncIterator[bytes] = b""
    headers: Headers = ()
    conversation: Conversation | None = None


Answer = Callable[[Request], Awaitable[Response]]


class BodyTooLarge(Exception):
    """More bytes than this demo keeps."""


class Inbox:
    """The parser's callbacks: gathers whole requests, in the order of the wire."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.complete: list[Request] = []
        self._clear()

    def _clear(self) -> None:
        self._target = bytearray()
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._head_done = False

    def on_message_begin(self) -> None:
        self._clear()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # what comes later is a trailer
            self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._head_done = True

    def on_body(self, part: bytes) -> None:
        if len(self._body) + len(part) > MAX_BODY_BYTES:
            raise BodyTooLarge
        self._body += part

    def on_message_complete(self) -> None:
        self.complete.append(
            Request(
                method=self.parser.get_method().decode("ascii"),
                target=self._target.decode("latin-1"),
                headers=tuple(self._headers),
                body=bytes(self._body),
                keep_alive=self.parser.should_keep_alive(),
            )
        )

    def take(self) -> list[Request]:
        requests, self.complete = self.complete, []
        return requests

    def feed(self, chunk: bytes) -> tuple[int, bytes]:
        """Parse, and say which answer the bytes deserve at once (0: none), and what follows an upgrade."""
        try:
            self.parser.feed_data(chunk)
        except httptools.HttpParserUpgrade as upgrade:
            return 0, chunk[upgrade.args[0] :]
        except httptools.HttpParserCallbackError:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b""
        except httptools.HttpParserError:
            return HTTPStatus.BAD_REQUEST, b""
        return 0, b""


async def serve_connection(
    answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection, one request after the other, until either side has had enough."""
    inbox = Inbox()
    try:
        while chunk := await reader.read(READ_BYTES):
            refusal, surplus = inbox.feed(chunk)
            for request in inbox.take():
                response = await answer(request)
                await _send(writer, request, response)
                if response.conversation is not None:
                    await response.conversation(surplus, reader, writer)
                    return
                if not request.keep_alive:
                    return
            if refusal:
                await _send(writer, Request("GET", "/", (), keep_alive=False), Response(refusal))
                return
    except ConnectionError:
        return  # the other side left: nobody remains to be told
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _send(writer: asyncio.StreamWriter, request: Request, response: Response) -> None:
    writer.write(_head(request, response))
    if request.method != "HEAD":
        if isinstance(response.body, bytes):
            writer.write(response.body)
        else:
            async for part in response.body:
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
    await writer.drain()


def _head(request: Request, response: Response) -> bytes:
    status = HTTPStatus(response.status)
    fields = [*response.headers]
    if response.conversation is None:
        fields.append(
            ("content-length", str(len(response.body)))
            if isinstance(response.body, bytes)
            else ("transfer-encoding", "chunked")
        )
        fields.append(("connection", "keep-alive" if request.keep_alive else "close"))
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
