from typing import Literal, TypeAlias

Role: TypeAlias = Literal["length", "connection", ""]

class AnswerReader:
    def __init__(self, longest_head: int, most_steps: int) -> None: ...
    def teach(
        self, status_line: bytes, status: int, headers: tuple[tuple[bytes, bytes, Role], ...]
    ) -> None: ...
    def read(self, received: bytes) -> tuple[int, bytes, bytes] | None: ...

def nearest(
    tolerances_us: tuple[int, ...], emissions_us: tuple[int, ...], booked_us: list[int]
) -> tuple[int, int, int]: ...
