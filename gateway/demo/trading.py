"""The demo upstream's routes: orders, positions, and answers that make a gateway's doings visible.

Invariant: orders, positions and ticks belong to the partner that a verified identity assertion names;
nothing else in the request says who is calling. `/echo`, `/slow` and `/stream-bytes` ask for no
identity, so that what the gateway sends can be seen on every kind of route.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs

import msgspec

from gateway.demo import book, ticks, wire

IDENTITY_HEADER: Final = "portreeve-identity"
JSON: Final = (("content-type", "application/json"),)
MAX_LISTED: Final = 500
DEFAULT_LISTED: Final = 50
MAX_SLOW_MS: Final = 60_000
MAX_STREAMED: Final = 1 << 30
STREAM_PART: Final = 16_384

# Takes the assertion and the request that carried it, answers with the partner it names.
Identify = Callable[[str, wire.Request], Awaitable[str]]
# What one method of one resource does for a known partner.
Action = Callable[[str, wire.Request], wire.Response]


class NotIdentified(Exception):
    """No assertion, more than one, or one that does not hold here."""


class InvalidQuery(Exception):
    """A query parameter is missing or out of range."""


REFUSALS: Final[Mapping[type[Exception], tuple[int, str]]] = MappingProxyType(
    {
        NotIdentified: (401, "not_identified"),
        InvalidQuery: (400, "invalid_query"),
        book.InvalidOrder: (400, "invalid_order"),
        book.UnknownOrder: (404, "unknown_order"),
        book.OrderClosed: (409, "order_closed"),
    }
)


class Trading:
    def __init__(self, environment: str, identify: Identify, clock_ms: Callable[[], int]) -> None:
        self._environment = environment
        self._identify = identify
        self._clock_ms = clock_ms
        self._book = book.Book()

    async def answer(self, request: wire.Request) -> wire.Response:
        try:
            return await self._answer(request)
        except tuple(REFUSALS) as error:
            status, code = REFUSALS[type(error)]
            return _problem(status, code, str(error))

    async def _answer(self, request: wire.Request) -> wire.Response:
        path, _, query = request.target.partition("?")
        if path == "/echo" or path.startswith("/echo/"):
            return _echo(request)
        if path == "/slow":
            return await _slow(query)
        if path == "/stream-bytes":
            return _stream(query)
        return await self._answer_partner(request, path)

    async def _answer_partner(self, request: wire.Request, path: str) -> wire.Response:
        actions = self._actions(path)
        if not actions:
            return _problem(404, "not_found", "nothing lives at this path")
        if request.method not in actions:
            return _problem(405, "method_not_allowed", "this method does nothing here", tuple(actions))
        partner = await self._identify(_get_assertion(request), request)
        return actions[request.method](partner, request)

    def _actions(self, path: str) -> dict[str, Action]:
        match path.split("/")[1:]:
            case ["orders"]:
                return {"GET": self._list, "POST": self._create}
            case ["orders", order_id] if order_id:
                return {
                    "GET": lambda partner, _: _json(200, self._book.get(partner, order_id)),
                    "DELETE": lambda partner, _: _json(200, self._book.cancel(partner, order_id)),
                }
            case ["positions"]:
                return {"GET": self._positions}
            case ["ticks"]:
                return {"GET": lambda _, request: ticks.upgrade(request)}
        return {}

    def _create(self, partner: str, request: wire.Request) -> wire.Response:
        order = self._book.create(partner, book.parse_order(request.body), self._clock_ms())
        return _json(201, order, (("location", f"/orders/{order.id}"),))

    def _list(self, partner: str, request: wire.Request) -> wire.Response:
        query = request.target.partition("?")[2]
        limit = _number(query, "limit", MAX_LISTED, DEFAULT_LISTED)
        symbols = parse_qs(query).get("symbol", [])
        orders = [order for order in self._book.all_of(partner) if not symbols or order.symbol in symbols]
        return _json(200, {"environment": self._environment, "orders": orders[::-1][:limit]})

    def _positions(self, partner: str, _: wire.Request) -> wire.Response:
        return _json(200, {"environment": self._environment, "positions": self._book.positions(partner)})


def _get_assertion(request: wire.Request) -> str:
    match request.get_all(IDENTITY_HEADER):
        case [assertion]:
            return assertion
        case []:
            raise NotIdentified("no identity assertion: this upstream is reached through the gateway only")
        case _:
            raise NotIdentified("more than one identity assertion")


def _echo(request: wire.Request) -> wire.Response:
    seen = {
        "method": request.method,
        "target": request.target,
        "headers": [[name, value] for name, value in request.headers],
        "body_hex": request.body.hex(),
    }
    return _json(200, seen)


async def _slow(query: str) -> wire.Response:
    pause_ms = _number(query, "ms", MAX_SLOW_MS)
    await asyncio.sleep(pause_ms / 1000)
    return _json(200, {"slept_ms": pause_ms})


def _stream(query: str) -> wire.Response:
    count = _number(query, "n", MAX_STREAMED)
    return wire.Response(200, _counted_bytes(count), (("content-type", "application/octet-stream"),))


async def _counted_bytes(count: int) -> AsyncIterator[bytes]:
    """Yield bytes that count 0..255 and over again, so that a lost or doubled part shows."""
    pattern = bytes(range(256)) * (STREAM_PART // 256)
    for start in range(0, count, STREAM_PART):
        yield pattern[: count - start]


def _number(query: str, name: str, most: int, default: int | None = None) -> int:
    values = parse_qs(query, keep_blank_values=True).get(name, [])
    if not values and default is not None:
        return default
    if len(values) == 1 and values[0].isascii() and values[0].isdigit() and len(values[0]) <= len(str(most)):
        number = int(values[0])
        if number <= most:
            return number
    raise InvalidQuery(f"{name} must be given once, as a whole number up to {most}")


def _json(status: int, value: object, headers: wire.Headers = ()) -> wire.Response:
    return wire.Response(status, msgspec.json.encode(value), JSON + headers)


def _problem(status: int, code: str, message: str, allowed: tuple[str, ...] = ()) -> wire.Response:
    headers = (("allow", ", ".join(allowed)),) if allowed else ()
    return _json(status, {"error": {"code": code, "message": message}}, headers)
