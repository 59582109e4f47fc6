from typing import Literal, TypeAlias

Role: TypeAlias = Literal["length", "connection", "date", ""]

class AnswerReader:
    def __init__(self, longest_head: int, most_steps: int) -> None: ...
    @property
    def steps(self) -> int: ...
    def teach(
        self, status_line: bytes, status: int, headers: tuple[tuple[bytes, bytes, Role], ...]
    ) -> bool: ...
    def read(self, received: bytes) -> tuple[int, bytes, bytes, bool] | None: ...

class StateWriter:
    def __init__(
        self, tolerances_us: tuple[int, ...], emissions_us: tuple[int, ...], openings: tuple[bytes, ...]
    ) -> None: ...
    def add(self, lines: bytes, booked_us: list[int]) -> bytes | None: ...

def join(
    status_line: bytes,
    lines: bytes,
    request_id: str,
    default_lines: bytes,
    farewell: bytes,
    length: int,
    body: bytes,
) -> bytes: ...
