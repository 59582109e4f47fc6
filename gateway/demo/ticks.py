"""Prices over a WebSocket (RFC 6455), one text frame a second: enough to prove that a proxy carries them.

Invariant: a frame is whole or is not sent, and a closing client gets its close frame back. Refused:
requests that are no WebSocket handshake (426). Client messages are read and dropped; frames longer
than 125 bytes, which only a client with something to say would send, end the conversation.
"""

import asyncio
import base64
import contextlib
import hashlib
from typing import Final

import msgspec

from gateway.demo import book, wire

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_LONGEST: Final = 125
INTERVAL_S: Final = 1.0


def upgrade(request: wire.Request) -> wire.Response:
    keys = request.get_all("sec-websocket-key")
    if len(keys) != 1 or "websocket" not in [value.lower() for value in request.get_all("upgrade")]:
        return wire.Response(426, b"", (("upgrade", "websocket"),))
    accept = base64.b64encode(
        hashlib.sha1(keys[0].encode("latin-1") + _GUID, usedforsecurity=False).digest()
    ).decode()
    headers = (("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accept))
    return wire.Response(101, b"", headers, conversation=converse)


async def converse(surplus: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    ticking = asyncio.create_task(_tick(writer))
    try:
        await _listen(_Frames(surplus, reader), writer)
    except asyncio.IncompleteReadError:
        return  # the client left in the middle of a frame
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await ticking


async def _tick(writer: asyncio.StreamWriter) -> None:
    number = 0
    while True:
        number += 1
        prices = {symbol: str(price) for symbol, price in book.REFERENCE_PRICES.items()}
        writer.write(frame(_TEXT, msgspec.json.encode({"tick": number, "prices": prices})))
        await writer.drain()
        await asyncio.sleep(INTERVAL_S)


class _Frames:
    """Reads what came with the handshake first, then the wire."""

    def __init__(self, surplus: bytes, reader: asyncio.StreamReader) -> None:
        self._surplus = surplus
        self._reader = reader

    async def take(self, count: int) -> bytes:
        first, self._surplus = self._surplus[:count], self._surplus[count:]
        return first + await self._reader.readexactly(count - len(first))


async def _listen(frames: _Frames, writer: asyncio.StreamWriter) -> None:
    while True:
        first, second = await frames.take(2)
        length = second & 0x7F
        if not second & 0x80 or length > _LONGEST:  # clients must mask; longer ones are not for us
            writer.write(frame(_CLOSE, (1002).to_bytes(2)))
            return
        mask = await frames.take(4)
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await frames.take(length)))
        match first & 0x0F:
            case 0x8:
                writer.write(frame(_CLOSE, payload))
                return
            case 0x9:
                writer.write(frame(_PONG, payload))


def frame(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    size = bytes([length]) if length <= _LONGEST else b"\x7e" + length.to_bytes(2)
    return bytes([0x80 | opcode]) + size + payload
