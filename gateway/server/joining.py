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
    is_last: bool,
    length: int,
    body: bytes,
) -> bytes:
    """All lines have their line ends. An empty `request_id` is not told, nor is a negative length."""
    return b"%b%b%b%b%b%b\r\n%b" % (
        status_line,
        lines,
        b"portreeve-request-id: %b\r\n" % request_id.encode() if request_id else b"",
        default_lines,
        b"connection: close\r\n" if is_last else b"",
        b"content-length: %d\r\n" % length if length >= 0 else b"",
        body,
    )


def _best() -> Callable[[bytes, bytes, str, bytes, bool, int, bytes], bytes]:
    return answers.join if compiled.IS_USED else join_interpreted


join = _best()
