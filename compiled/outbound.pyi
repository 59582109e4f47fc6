class Composer:
    def __init__(self, most_body: int) -> None: ...
    def compose(
        self,
        opening: bytes,
        may_end: bool,
        passed: bytes,
        count: int,
        origin: bytes,
        request_id: str,
        assertion: str | None,
        body: object,
    ) -> bytes | None: ...
