"""A credential as the request path uses it: lines that stand ready, or what makes them for one request.

Invariant: what stands ready was looked at once, when it was made, and is told apart from what a client sent: the
client's headers of the same names are taken out, in every spelling that could have got this far.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives import hashes, hmac

from gateway.credentials.forms import BasicDetails, Details, HeaderDetails, HmacDetails, Material
from gateway.problems import Refusal
from gateway.upstream import require_lines
from keys.secret import Secret


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The request as the upstream will receive it. `body` is None where it is streamed, and not known yet."""

    method: str
    target: bytes
    body: bytes | None
    body_sha256: bytes


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The names that a credential takes for itself: a client's headers of these names go no further. Names are in
    lower case by then, and those with `_` are gone.
    """

    starts: tuple[bytes, ...]
    lines: re.Pattern[bytes]

    def out_of(self, passed: bytes, count: int) -> tuple[bytes, int]:
        """What is left of the client's lines, and how many they should be."""
        for start in self.starts:
            # Nearly no client sends one, and to look for it takes far less than to look at every line.
            if start in passed:
                passed, taken = self.lines.subn(b"", passed)
                return passed, count - taken
        return passed, count


class Attached(msgspec.Struct, frozen=True, gc=False):
    """`lines` go with the request, and the client's of the names `taken` do not."""

    taken: Taken
    lines: bytes


class Proof(Protocol):
    @property
    def taken(self) -> Taken: ...

    @property
    def lines(self) -> bytes | None:
        """None where each request needs its own: then `prove` makes them."""

    async def prove(self, asked: Asked) -> bytes:
        """Raises `Refusal` where there is nothing to prove anything with."""

    def note_refused(self, lines: bytes) -> None:
        """The upstream answered 401 to a request with these."""

    async def aclose(self) -> None: ...


def unavailable(detail: str = "The gateway cannot say who it is to this upstream now.") -> Refusal:
    return Refusal("upstream_credential_unavailable", detail)


def taking(names: tuple[str, ...]) -> Taken:
    encoded = [name.encode() for name in names]
    lines = re.compile(rb"(?m)^(?:%b): [^\r\n]*\r\n" % b"|".join(map(re.escape, encoded)))
    return Taken(tuple(name + b": " for name in encoded), lines)


_NOTHING = Taken((), re.compile(rb"(?!)"))


class Missing:
    """Nothing to send: so nothing is asked."""

    taken = _NOTHING
    lines = None

    def __init__(self, why: str) -> None:
        self.why = why

    async def prove(self, asked: Asked) -> bytes:  # noqa: ARG002  whatever is asked
        raise unavailable()

    def note_refused(self, lines: bytes) -> None:
        """Nothing was sent."""

    async def aclose(self) -> None:
        """Nothing is open."""


class Ready:
    """The same lines for every request."""

    def __init__(self, details: Details, lines: bytes) -> None:
        require_lines(lines, 1)
        self.taken = taking(details.names)
        self.lines = lines

    def __repr__(self) -> str:
        return "Ready(***)"

    async def prove(self, asked: Asked) -> bytes:  # noqa: ARG002  the same for all
        return self.lines

    def note_refused(self, lines: bytes) -> None:
        """It is what it is."""

    async def aclose(self) -> None:
        """Nothing is open."""


class Signing:
    """HMAC-SHA256 over what is asked, and when. The key is worked in once: a request copies that state."""

    lines = None

    def __init__(self, details: HmacDetails, members: Material, clock_ms: Callable[[], int]) -> None:
        self.taken = taking(details.names)
        self._details = details
        self._clock_ms = clock_ms
        self._primed = hmac.HMAC(members["secret"].reveal().encode(), hashes.SHA256())
        names = (name.encode() for name in details.names)
        key_id = members["key_id"].reveal().encode().replace(b"%", b"%%")
        self._form = b"%b: %b\r\n%b: %%b\r\n%b: %%b\r\n" % (next(names), key_id, *names)
        require_lines(self._form, 3)

    def __repr__(self) -> str:
        return "Signing(***)"

    async def prove(self, asked: Asked) -> bytes:
        if asked.body is None:
            raise unavailable(
                "This upstream takes signed bodies only, and a public route does not hold its body."
            )
        now_ms, details = self._clock_ms(), self._details
        timestamp = b"%d" % (now_ms if details.timestamp == "ms" else now_ms // 1000)
        method = asked.method.encode("ascii")
        if details.layout == "lines":
            signed = b"\n".join((timestamp, method, asked.target, asked.body_sha256))
        else:
            signed = b"".join((timestamp, method, asked.target, asked.body))
        signing = self._primed.copy()
        signing.update(signed)
        digest = signing.finalize()
        shown = digest.hex().encode() if details.encoding == "hex" else b64encode(digest)
        return self._form % (timestamp, shown)

    def note_refused(self, lines: bytes) -> None:
        """Each is made anew."""

    async def aclose(self) -> None:
        """Nothing is open."""


def make_ready(details: HeaderDetails | BasicDetails, members: Material) -> Ready:
    if isinstance(details, HeaderDetails):
        return Ready(details, f"{details.header}: {members['value'].reveal()}\r\n".encode())
    return Ready(details, b"authorization: %b\r\n" % basic(members["username"], members["password"]))


def basic(name: Secret, password: Secret) -> bytes:
    return b"Basic " + b64encode(f"{name.reveal()}:{password.reveal()}".encode())
