from typing import Generic, TypeVar

_Plan = TypeVar("_Plan")

class HeadReader(Generic[_Plan]):
    def __init__(
        self, methods: dict[bytes, str], longest: int, longest_target: int, most_steps: int
    ) -> None: ...
    def teach(self, names: tuple[bytes, ...], plan: _Plan) -> None: ...
    def read(self, data: bytes) -> tuple[str, bytes, _Plan, list[bytes], bytes] | None: ...
