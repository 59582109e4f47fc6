"""What can go wrong on the way to an upstream and back: one exception per failure, each with a named reason.

No reason carries an address, a header or a byte of what an upstream sent: these may reach a log or a problem.
"""

from __future__ import annotations

from typing import Literal

Unreachable = Literal["dns", "refused", "tls", "network", "closed"]
Broken = Literal[
    "malformed",  # not HTTP/1.x as the strict parser reads it
    "framing",  # HTTP, but the end of the body is not to be told beyond doubt
    "headers_too_large",
    "interim",  # more 1xx answers than anyone needs
    "upgrade",  # 101, which nobody asked for
    "closed_early",  # closed before an answer
    "truncated",  # closed inside the answer
    "abandoned",  # read on after we closed it ourselves
]
Deadline = Literal["connect", "first_byte", "idle", "total"]
Exhausted = Literal["full", "waited"]


class UpstreamError(Exception):
    """The request was not answered, or not to its end."""


class UpstreamUnreachable(UpstreamError):
    """No connection that could carry a request: nothing of this request was understood upstream."""

    def __init__(self, reason: Unreachable) -> None:
        super().__init__(reason)
        self.reason = reason


class UpstreamBroken(UpstreamError):
    """The upstream took the request and answered something that is no whole, well-formed response."""

    def __init__(self, reason: Broken) -> None:
        super().__init__(reason)
        self.reason = reason


class ConnectionWasStale(UpstreamBroken):
    """A connection that had served before was closed before a byte of this answer came.

    The likeliest cause is an upstream that closed it for idleness just as the request was written, but that
    cannot be known: the request may have been acted on.
    """

    def __init__(self) -> None:
        super().__init__("closed_early")


class UpstreamTimeout(UpstreamError):
    def __init__(self, which: Deadline) -> None:
        super().__init__(which)
        self.which = which


class PoolExhausted(UpstreamError):
    """Every connection is busy, and the line of those who wait is full or did not move in time."""

    def __init__(self, reason: Exhausted) -> None:
        super().__init__(reason)
        self.reason = reason


class BodyLengthMismatch(ValueError):
    """The caller's streamed body is not as long as the caller said.

    The connection is closed: what was sent cannot be taken back, and must not become the beginning of another
    request.
    """


class TlsSettingsRefused(ValueError):
    """A certificate, key or CA file cannot be used."""
