"""The bytes of an answer: its head, and the body that comes with it, in one piece."""

from __future__ import annotations

from collections.abc import Callable

import compiled

if compiled.IS_USED:
    from compiled import answers


def join_interpreted(  # noqa: PLR0913, PLR0917  in the order in which they are written
    status_line: bytes,
    lines: bytes,
    request_id: str,
    default_lines: bytes,
    farewell: bytes,
    length: int,
    body: bytes,
) -> bytes:
    """All lines have their line ends. `farewell` is the line that says so where the connection ends with it. An empty
    `request_id` is not told, nor is a negative length.
    """
    return b"%b%b%b%b%b%b\r\n%b" % (
        status_line,
        lines,
        b"portreeve-request-id: %b\r\n" % request_id.encode() if request_id else b"",
        default_lines,
        farewell,
        b"content-length: %d\r\n" % length if length >= 0 else b"",
        body,
    )


def _best() -> Callable[[bytes, bytes, str, bytes, bytes, int, bytes], bytes]:
    return answers.join if compiled.IS_USED else join_interpreted


join = _best()
