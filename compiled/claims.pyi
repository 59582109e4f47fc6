from collections.abc import Callable

def read_claim(
    timestamp: bytes | None, nonce: bytes | None, signature: bytes | None
) -> tuple[int, bytes] | None: ...

class LineWriter:
    def __init__(
        self, scheme: bytes, otherwise: Callable[[bytes, bytes, bytes, bytes, bytes, bytes, bytes], bytes]
    ) -> None: ...
    def write(
        self,
        timestamp: bytes,
        nonce: bytes,
        key_id: bytes,
        method: bytes,
        path: bytes,
        query: bytes,
        body_sha256_hex: bytes,
    ) -> bytes: ...
