"""Where requests to the control surface end: Litestar answers them, for a caller that is verified by now.

Invariant: it takes only what was counted, so Litestar sees no control request of a stranger, of a key that lacks the
permission, of a copy, or of one too many. Litestar reads the body that was signed, not the socket, and the path that
was matched, undecoded: what was authorised is what runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from auth.admission import Admitted
from gateway import operations
from gateway.answer import Answer
from gateway.ratelimit_headers import add_state
from gateway.server.exchange import written
from gateway.stages.admit_once import Counted

Message = dict[str, Any]
AsgiApp = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

# The keys in the scope by which the control surface knows its caller, and which operation was authorised.
OPERATOR = "portreeve.operator"
OPERATION = "portreeve.operation"

_APPROVAL = b"portreeve-approval"
_GLASS = b"portreeve-break-glass"


class HandOver:
    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, counted: Counted) -> Answer:
        collected = _Collected()
        authenticated = counted.authorized.authenticated
        authenticated.routed.admitted.arrival.trace.enter("page")
        await self._app(_scope(counted), _receive_once(authenticated.body), collected.send)
        return collected.answer(counted.states)


class _Collected:
    """An answer of the control surface is small: it is whole before it is written."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [pair for pair in message["headers"] if pair[0].lower() != b"content-length"]
        elif message["type"] == "http.response.body":
            self._pieces.append(message.get("body", b""))

    def answer(self, states: Admitted) -> Answer:
        return Answer(self._status, add_state(written(self._headers), states), b"".join(self._pieces))


def _receive_once(body: bytes) -> Callable[[], Awaitable[Message]]:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _scope(counted: Counted) -> Message:
    routed = counted.authorized.authenticated.routed
    admitted, arrival = routed.admitted, routed.admitted.arrival
    names = [name.lower() for name in arrival.names]
    headers = list(zip(names, arrival.values, strict=True))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": arrival.http_version,
        "server": None,
        "client": (admitted.source.text, 0),
        "scheme": arrival.scheme,
        "method": arrival.method,
        "root_path": "",
        "path": admitted.target.path,
        "raw_path": admitted.target.path_bytes,
        "query_string": admitted.target.query,
        "headers": headers,
        "state": {},
        "portreeve.trace": arrival.trace,
        OPERATION: routed.route.name,
        OPERATOR: _operator(counted, dict(headers)),
    }


def _operator(counted: Counted, headers: dict[bytes, bytes]) -> operations.Operator:
    principal = counted.authorized.principal
    if principal is None:
        raise TypeError("the control surface has no public route")
    admitted = counted.authorized.authenticated.routed.admitted
    return operations.of_key(
        principal,
        source=admitted.source.text,
        request_id=admitted.arrival.request_id,
        approval=_find_text(headers, _APPROVAL),
        glass=_find_text(headers, _GLASS),
    )


def _find_text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
