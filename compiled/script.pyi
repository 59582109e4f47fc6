from collections.abc import Callable
from typing import Any, Protocol, TypeVar

_Outcome = TypeVar("_Outcome")

class _Digest(Protocol):
    def copy(self) -> _Digest: ...
    def update(self, more: bytes, /) -> None: ...
    def digest(self) -> bytes: ...

class CommandWriter:
    def __init__(
        self,
        script: bytes,
        numbers: Callable[[int, int, int], tuple[bytes, bytes, bytes]],
        undigested: _Digest,
    ) -> None: ...
    # Of admissions, which this room does not know.
    def write(self, batch: object) -> bytes | None: ...

def divide(
    reply: object,
    batch: object,
    admitted: Callable[[Any, list[int]], _Outcome],
    replayed: Callable[[], _Outcome],
    limited: Callable[[Any, list[int]], _Outcome],
) -> list[_Outcome] | None: ...
