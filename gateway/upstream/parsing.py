"""One response after the other out of the bytes of one connection, on a strict incremental parser.

Invariant: `complete` only after exactly one final response; `may_go_on` only if not a byte more has come with its
end, and both sides would keep the connection. What is not HTTP as we insist on it raises `UpstreamBroken` out of
`feed`; `head` and `pieces` still hold what came before it. Trailers are read and dropped.
"""

from __future__ import annotations

import httptools

from gateway.upstream.errors import Broken, UpstreamBroken
from gateway.upstream.framing import ResponseHead, read_head
from gateway.upstream.values import ResponseLimits

_FIRST_STATUS = 100
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL_STATUS = 200
_END_OF_HEAD = b"\r\n\r\n"
_LINE_END_BYTES = b"\r\n"


class ResponseParser:
    """`expect` before each request; then `feed` until `complete`. After an exception it is of no more use.

    `head` is there as soon as it is whole; `pieces` are the body as far as it has come and nobody has taken it.
    """

    __slots__ = (
        "_fields",
        "_head_in_read",
        "_head_only",
        "_interim",
        "_limits",
        "_parser",
        "_refused",
        "_silence",
        "complete",
        "head",
        "may_go_on",
        "pieces",
    )

    def __init__(self, limits: ResponseLimits) -> None:
        self._limits = limits
        self._parser = httptools.HttpResponseParser(self)
        self._head_only = False
        self._head_in_read = False
        self._refused: UpstreamBroken | None = None
        self.may_go_on = False
        self.expect(head_only=False)

    def expect(self, *, head_only: bool) -> None:
        if self._head_only:
            # The parser cannot be told that an answer to HEAD ends with its head: it still waits for a body.
            self._parser = httptools.HttpResponseParser(self)
        self._head_only = head_only
        self._fields: list[bytes] = []
        self._interim = 0
        self._silence = 0
        self.head: ResponseHead | None = None
        self.pieces: list[bytes] = []
        self.complete = False

    def feed(self, received: bytes | memoryview) -> None:
        """Keeps nothing of `received` but copies. Whoever feeds on has taken the pieces before."""
        self._head_in_read = False
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise (self._refused or UpstreamBroken("malformed")) from error
            self.may_go_on = False
        if self.complete:
            self.may_go_on = self.may_go_on and self._ends_with(received)
        elif self.pieces:
            self._silence = 0
        else:
            self._silence += len(received)
            if self._silence > self._limits.silence_bytes:
                raise UpstreamBroken("malformed" if self.head else "headers_too_large")

    def take_pieces(self) -> list[bytes]:
        pieces, self.pieces = self.pieces, []
        return pieces

    def close(self) -> None:
        """Breaks the cycle of the two parsers, so that a closed connection is freed at once."""
        del self._parser

    def _ends_with(self, received: bytes | memoryview) -> bool:
        """Whether the response ends where the read ends.

        Anything more begins another message, and the parser says so; only CR and LF it passes over silently, and what
        follows an answer to HEAD it may take for the beginning of a chunk.
        A head split between two reads, or 1xx answers before it, may be judged surplus: that costs a
        connection, and nothing else.
        """
        if self.head is None or self.head.ends != "at length":
            return received[-4:] == _END_OF_HEAD and received[-5:-4] not in _LINE_END_BYTES
        if received[-1] not in _LINE_END_BYTES:
            return True
        head = bytes(received).find(_END_OF_HEAD) + len(_END_OF_HEAD) if self._head_in_read else 0
        return len(received) == head + sum(map(len, self.pieces))

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self.may_go_on = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Counted when the head is whole: what one read brings is bounded. A trailer is never looked at.
        self._fields += (name, value)

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        fields, limits, parser = self._fields, self._limits, self._parser
        if len(fields) > 2 * limits.headers or sum(map(len, fields)) > limits.head_bytes:
            raise self._refuse("headers_too_large")
        status = parser.get_status_code()
        if status < _FIRST_FINAL_STATUS:
            self._pass_over_interim(status)
            return
        try:
            head = read_head(status, parser.get_http_version(), fields, head_only=self._head_only)
        except UpstreamBroken as refused:
            self._refused = refused
            raise
        self.head = head
        self._head_in_read = True
        # The parser's own verdict counts too, but of an answer to HEAD it thinks that the body is missing.
        self.may_go_on = head.keep_alive and (self._head_only or parser.should_keep_alive())
        # The parser calls this end itself, except for HEAD.
        self.complete = head.ends == "at head"

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            self.may_go_on = False
        else:
            self.pieces.append(piece)

    def on_chunk_header(self) -> None:
        if self.complete:
            self.may_go_on = False

    def on_message_complete(self) -> None:
        if self.head is not None:
            self.complete = True

    def _pass_over_interim(self, status: int) -> None:
        self._interim += 1
        if status < _FIRST_STATUS:
            raise self._refuse("malformed")
        if status == _SWITCHING_PROTOCOLS:
            raise self._refuse("upgrade")
        if self._interim > self._limits.interim:
            raise self._refuse("interim")
        self._fields = []

    def _refuse(self, reason: Broken) -> UpstreamBroken:
        self._refused = UpstreamBroken(reason)
        return self._refused
