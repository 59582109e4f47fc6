"""What a client may ask of one connection before it has proved anything."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Drain:
    """Whether the node is on its way out: it serves, and asks its clients to go elsewhere."""

    has_begun = False


class Limits(msgspec.Struct, frozen=True):
    max_connections: int
    header_timeout_s: float
    body_timeout_s: float
    max_header_bytes: int
    max_headers: int
    max_target_bytes: int
    write_timeout_s: float = 30.0
    max_pipelined: int = 32
    linger_s: float = 2.0
    linger_bytes: int = 4 * 1024 * 1024

    def find_oversized(self, target: bytes, names: Sequence[bytes], values: Sequence[bytes]) -> str | None:
        """What of a head is over its bound, for the edge to refuse: a head that has ended can be answered properly."""
        if len(target) > self.max_target_bytes:
            return f"The request target is over {self.max_target_bytes} bytes."
        if len(names) > self.max_headers:
            return f"There are more than {self.max_headers} headers."
        if len(b"".join(names)) + len(b"".join(values)) + 4 * len(names) > self.max_header_bytes:
            return f"The headers are over {self.max_header_bytes} bytes."
        return None
