from asyncio import Future
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

_Response = TypeVar("_Response")
_Connection = TypeVar("_Connection")

class _Line(Protocol):
    @property
    def waiting(self) -> object: ...
    def hand_over(self, item: Any) -> bool: ...  # noqa: ANN401  a line is of one type

class _Asked(Protocol):
    @property
    def rest(self) -> object: ...
    @property
    def first(self) -> bytes: ...
    @property
    def head_only(self) -> bool: ...

class _Timeouts(Protocol):
    @property
    def first_byte_s(self) -> float: ...
    @property
    def total_s(self) -> float: ...

class OrdinaryDeadlines:
    def __init__(self, *arguments: object) -> None: ...
    def begin(self, timeouts: object, now: float, total_at: float) -> None: ...
    def await_next(self, until: float) -> None: ...

class Exchanges:
    def __init__(self, *arguments: object) -> None: ...
    def prepare(
        self,
        respond: Callable[[Any, Future[None], bool], Any],
        read: Callable[[bytes], tuple[int, bytes, bytes, bool] | None],
        received: bytearray,
        view: memoryview,
        longest: int,
    ) -> None: ...
    def is_ready(self) -> bool: ...
    def ask(self, request: object, timeouts: object, now: float, total_at: float) -> Any: ...  # noqa: ANN401  what `respond` made
    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, size: int) -> None: ...

class Stock(Generic[_Connection, _Response]):
    def __init__(
        self,
        idle: list[_Connection],
        line: _Line,
        keep_alive_s: float,
        clock: Callable[[], float],
        retire: Callable[[_Connection], None],
    ) -> None: ...
    def ask(self, request: _Asked, timeouts: _Timeouts) -> _Response | None: ...
    def release(self, connection: _Connection) -> None: ...
