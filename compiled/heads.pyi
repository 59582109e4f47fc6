class HeadReader:
    def __init__(
        self,
        methods: dict[bytes, str],
        keeps_alive: dict[bytes, bool],
        longest: int,
        longest_target: int,
        most_steps: int,
    ) -> None: ...
    @property
    def steps(self) -> int: ...
    def teach(self, names: tuple[bytes, ...], length: int | None, connection: int | None) -> None: ...
    def read(
        self, data: bytes
    ) -> tuple[str, bytes, tuple[bytes, ...], list[bytes], bool, bytes] | None: ...
