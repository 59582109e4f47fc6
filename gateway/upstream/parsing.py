"""One response after the other out of the bytes of one connection, on a strict incremental parser.

Invariant: `complete` only after exactly one final response; `surplus` as soon as there is a byte more;
`may_go_on` if both sides would keep the connection. What is not HTTP as we insist on it raises
`UpstreamBroken` out of `feed`; `head` and `pieces` still hold what came before it. Trailers are read and dropped.
"""

from __future__ import annotations

import httptools

from gateway.upstream.errors import Broken, UpstreamBroken
from gateway.upstream.framing import ResponseHead, read_head, read_name
from gateway.upstream.values import Header, ResponseLimits

_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL_STATUS = 200
_END_OF_HEAD = b"\r\n\r\n"
_LINE_END_BYTES = b"\r\n"


class ResponseParser:
    """`expect` before each request; then `feed` until `complete`. After an exception it is of no more use.

    `head` is there as soon as it is whole; `pieces` are the body as far as the last read brought it, in all
    `pieces_size` bytes.
    """

    __slots__ = (
        "_head_in_read",
        "_head_left",
        "_head_only",
        "_headers",
        "_hop_by_hop",
        "_interim",
        "_lengths",
        "_limits",
        "_parser",
        "_refused",
        "_silence",
        "complete",
        "head",
        "may_go_on",
        "pieces",
        "pieces_size",
        "surplus",
    )

    def __init__(self, limits: ResponseLimits) -> None:
        self._limits = limits
        self._parser = httptools.HttpResponseParser(self)
        self._head_only = False
        self.expect(head_only=False)

    def expect(self, *, head_only: bool) -> None:
        if self._head_only:
            # The parser cannot be told that an answer to HEAD ends with its head: it still waits for a body.
            self._parser = httptools.HttpResponseParser(self)
        self._head_only = head_only
        self._headers: list[Header] = []
        self._hop_by_hop: list[Header] = []
        self._lengths: list[bytes] = []
        self._head_left = self._limits.head_bytes
        self._interim = 0
        self._silence = 0
        self._refused: UpstreamBroken | None = None
        self.head: ResponseHead | None = None
        self.pieces: list[bytes] = []
        self.pieces_size = 0
        self.may_go_on = False
        self.complete = False
        self.surplus = False

    def feed(self, received: bytes | memoryview) -> None:
        """Keeps nothing of `received` but copies."""
        self._silence += len(received)
        self._head_in_read = False
        self.pieces = []
        self.pieces_size = 0
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise (self._refused or UpstreamBroken("malformed")) from error
            self.surplus = True
        if self.complete:
            self.surplus = self.surplus or not self._ends_with(received)
        elif self._silence > self._limits.silence_bytes:
            raise UpstreamBroken("malformed" if self.head else "headers_too_large")

    def has_heard(self) -> bool:
        """Whether a single byte has come since `expect`."""
        return self._silence > 0 or self.head is not None

    def close(self) -> None:
        """Breaks the cycle of the two parsers, so that a closed connection is freed at once."""
        del self._parser

    def _ends_with(self, received: bytes | memoryview) -> bool:
        """Whether the response ends where the read ends.

        Anything more begins another message, and the parser says so; only CR and LF it passes over silently.
        A head split between two reads, or 1xx answers before it, may be judged surplus: that costs a
        connection, and nothing else.
        """
        if self.head is not None and self.head.ends == "at length":
            head = bytes(received).find(_END_OF_HEAD) + len(_END_OF_HEAD) if self._head_in_read else 0
            return len(received) == head + self.pieces_size
        return received[-4:] == _END_OF_HEAD and received[-5:-4] not in _LINE_END_BYTES

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_left -= len(name) + len(value) + 4
        if self._head_left < 0:
            raise self._refuse("headers_too_large")
        if self.head is not None:
            return  # a trailer
        name, kind = read_name(name)
        if kind == "end-to-end":
            self._headers.append((name, value.rstrip(b" \t")))
        elif kind == "length":
            self._lengths.append(value.rstrip(b" \t"))
        else:
            # As it came: with a blank after "chunked", the parser reads another coding; we must not differ.
            self._hop_by_hop.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if len(self._headers) + len(self._hop_by_hop) + len(self._lengths) > self._limits.headers:
            raise self._refuse("headers_too_large")
        if 100 <= status < _FIRST_FINAL_STATUS:  # noqa: PLR2004  the range of interim answers
            self._pass_over_interim(status)
            return
        try:
            head = self.head = read_head(
                status,
                parser.get_http_version(),
                self._headers,
                self._hop_by_hop,
                self._lengths,
                head_only=self._head_only,
            )
        except UpstreamBroken as refused:
            self._refused = refused
            raise
        self._head_in_read = True
        # The parser's own verdict counts too, but of an answer to HEAD it thinks that the body is missing.
        self.may_go_on = head.keep_alive and (self._head_only or parser.should_keep_alive())
        # The parser calls this end itself, except for HEAD.
        self.complete = head.ends == "at head"

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            self.surplus = True
            return
        self._silence = 0
        self.pieces.append(piece)
        self.pieces_size += len(piece)

    def on_chunk_header(self) -> None:
        if self.complete:
            self.surplus = True

    def on_message_complete(self) -> None:
        if self.head is not None:
            self.complete = True

    def _pass_over_interim(self, status: int) -> None:
        self._interim += 1
        if status == _SWITCHING_PROTOCOLS:
            raise self._refuse("upgrade")
        if self._interim > self._limits.interim:
            raise self._refuse("interim")
        self._headers = []
        self._hop_by_hop = []
        self._lengths = []

    def _refuse(self, reason: Broken) -> UpstreamBroken:
        self._refused = UpstreamBroken(reason)
        return self._refused
