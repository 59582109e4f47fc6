"""Where an HTTP/1.1 answer ends: by length, by chunks, or by the end of its connection.

Fed with what arrives, it keeps no body, so that an answer of any size costs what its bytes cost.
Refuses bytes past an answer's end: nothing was asked that they could answer.
"""

from __future__ import annotations

_HEAD, _LENGTH, _CHUNKS, _TRAILERS, _UNTIL_CLOSE = range(5)
_LENGTH_FIELD = b"\r\ncontent-length:"
_CHUNKED_FIELD = b"\r\ntransfer-encoding: chunked\r\n"
_CLOSE_FIELD = b"\r\nconnection: close\r\n"
_BODILESS = {b"204", b"304"}


class Answer:
    """The one a connection waits for; begins anew when it was complete."""

    __slots__ = ("_left", "_part", "_rest", "body_bytes", "closes", "status")

    def __init__(self) -> None:
        self.body_bytes = 0
        self.status = b""
        self.begin()

    def begin(self) -> None:
        self.closes = False
        self._part = _HEAD
        self._rest = b""
        self._left = 0

    def feed(self, arrived: bytes) -> bool:
        """True once the answer is complete."""
        if self._rest:
            # Only ever a part of a head or of one line.
            arrived, self._rest = self._rest + arrived, b""
        at = 0
        if self._part == _HEAD:
            at = self._read_head(arrived)
            if self._part == _HEAD:
                return False
        if self._part == _LENGTH:
            self._left -= len(arrived) - at
            self._refuse_excess(-self._left)
            return self._left == 0
        if self._part == _UNTIL_CLOSE:
            self.body_bytes += len(arrived) - at
            return False
        return self._read_chunks(arrived, at)

    def end(self) -> bool:
        """The connection was closed by the other side: whether that completes an answer."""
        self.closes = True
        return self._part == _UNTIL_CLOSE

    def _read_head(self, arrived: bytes) -> int:
        end = arrived.find(b"\r\n\r\n") + 4
        if end < 4:
            self._rest = arrived
            return 0
        head = arrived[: end - 2].lower()
        self.status = head[9:12]
        self.closes = _CLOSE_FIELD in head
        field = head.find(_LENGTH_FIELD)
        if field >= 0:
            value = field + len(_LENGTH_FIELD)
            self._left = int(head[value : head.index(b"\r", value)])
            self.body_bytes += self._left
            self._part = _LENGTH
        elif self.status in _BODILESS:
            self._part = _LENGTH
        else:
            self._part = _CHUNKS if _CHUNKED_FIELD in head else _UNTIL_CLOSE
        return end

    def _read_chunks(self, arrived: bytes, at: int) -> bool:
        while True:
            if self._left:
                taken = min(self._left, len(arrived) - at)
                self._left -= taken
                at += taken
                if self._left:
                    return False
            end = arrived.find(b"\r\n", at)
            if end < 0:
                self._rest = arrived[at:]
                return False
            line, at = arrived[at:end], end + 2
            if self._part == _TRAILERS:
                if not line:
                    self._refuse_excess(len(arrived) - at)
                    return True
                continue
            size = int(line.partition(b";")[0], 16)
            self.body_bytes += size
            if size:
                self._left = size + 2  # with the line break behind it
            else:
                self._part = _TRAILERS

    def _refuse_excess(self, excess: int) -> None:
        if excess > 0:
            raise ValueError(f"{excess} bytes more than answer {self.status!r} states")
