"""Values of the types that a stub names, made of real messages: whole, in pieces, and spoilt.

Invariant: the same randomness makes the same values.
"""

from __future__ import annotations

import ast
import asyncio
import random
import re
from collections.abc import Callable, Iterator
from hashlib import sha1
from types import SimpleNamespace
from typing import Any

_MESSAGES = (
    (
        b"GET /paper/v1/orders?symbol=BTC-EUR HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n"
        b"portreeve-key: prk_paper_5e9jDn94skYSLcjrVdBlVw1v836d\r\nportreeve-timestamp: 1795294305418\r\n"
        b"portreeve-nonce: QcUsk_4e0zzEYFTnAHXK0A\r\n"
        b"portreeve-signature: 731694c8eabd2d31bdf2ca8e4f3b69aba1e108b7a2206b47d7565bf6df4d909f\r\n\r\n"
    ),
    b'POST /live/v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\nX-A: \r\n\r\n{"symbol":"BTC-EUR"}',
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{"orders":[]}'[:-1],
    (
        b"HTTP/1.1 204 No Content\r\nconnection: keep-alive\r\ndate: Sat, 21 Nov 2026 21:00:00 GMT\r\n"
        b"content-length: 0\r\nset-cookie: a=b\r\n\r\n"
    ),
    b"*3\r\n:1\r\n$4\r\nabcd\r\n*2\r\n:1795294305418000\r\n:-1\r\n",
    (
        b'{"node":"gw-1:24788","at":1795229441108,"path":"/a","note":"prs_paper_0123456789abcdef"}\n'
        b'{"node":"gw-1:24788","at":1795229441109,"note":"whsec_AAAA"}\n'
    ),
    b"1795294305418 QcUsk_4e0zzEYFTnAHXK0A " + b"0123456789abcdef" * 8 + b" " + b"0123456789abcdef" * 4,
)
_PIECES = (
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b" ",
    b": ",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"GET",
    b"-1",
    b"9" * 30,
)
_WHOLE_NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    18,
    32,
    63,
    64,
    65,
    128,
    200,
    1_000,
    65_536,
    10**6,
    1_795_294_305_418_000,
)
_ODD_NUMBERS = (-1, -(2**31), 2**31, 2**32, 2**53, 2**62, 2**63 - 1, -(2**63), 2**63, 2**64, 10**40)
_TEXTS = (
    "",
    "a" * 32,
    "0f" * 16,
    "keep-alive",
    "length",
    "d\u00e9j\u00e0",
    "\ud800",
    "\U0001f512",
    "admit",
    "forward",
)
_WRONG: tuple[Any, ...] = (
    None,
    0,
    1.5,
    "text",
    b"bytes",
    bytearray(b"bytes"),
    [],
    (),
    {},
    [None],
    (None,),
    object,
)


_DIGEST = sha1(b"so far", usedforsecurity=False)
_HANDED_BACK = (b"", b"body", b"body", "plan", 1, None, (1, 2))
_LOOP = asyncio.new_event_loop()
# What an argument of such a name mostly is. The rest is made of anything.
_WAYS = {
    "whole": ("received", "data", "raw", "whole", "message", "reply"),
    "lines": ("line", "opening"),
    "names": ("name", "header"),
    "values": ("timestamp", "nonce", "digits", "value", "claim"),
    "words": ("method", "key", "word"),
}


class Values:
    """`renew` chooses the message that the next arguments are cut from, mostly the one before."""

    def __init__(self, source: random.Random, aliases: dict[str, ast.expr]) -> None:
        self._random = source
        self._aliases = aliases
        self._is_right = True
        self._message = source.choice(_MESSAGES)
        self._spoils = self._is_birth = False
        self._named = ""

    def renew(self) -> None:
        if self._random.random() < 0.1:
            self._message = self._random.choice(_MESSAGES)

    def arguments(self, types: dict[str, ast.expr], *, is_birth: bool = False) -> tuple[list[Any], bool]:
        """And whether all of them are of the types that were named. What an object is born with is mostly such that
        it can do something.
        """
        self._is_right, self._is_birth = True, is_birth
        self._spoils = self._random.random() < 0.4
        made = []
        for name, kind in types.items():
            self._named = name
            made.append(self._make(kind))
        return made, self._is_right

    def _make(self, kind: ast.expr, draw: Callable[[], bytes] | None = None) -> Any:  # noqa: ANN401
        if self._random.random() < 0.004:
            self._is_right = False
            return self._random.choice(_WRONG)
        if isinstance(kind, ast.BinOp):
            # What may be absent mostly is, unless these arguments are to be odd.
            chances = (1, 1) if self._spoils else self._chances()
            return self._make(self._random.choices((kind.left, kind.right), chances)[0], draw)
        if isinstance(kind, ast.Subscript):
            return self._make_of(ast.unparse(kind.value), _members(kind.slice), draw)
        name = kind.id if isinstance(kind, ast.Name) else None
        if name in self._aliases:
            return self._make(self._aliases[name], draw)
        return self._plain(name, draw)

    def _chances(self) -> tuple[int, int]:
        """That what may be absent is there, and that it is not: of what heads are taught, as the message says."""
        if self._named not in {"length", "connection"}:
            return 1, 2
        return (8, 1) if self._named.encode() in self._message.lower() else (1, 8)

    def _plain(self, name: str | None, draw: Callable[[], bytes] | None) -> Any:  # noqa: ANN401
        if name == "bytes":
            return self._spoilt(draw() if draw else self._piece())
        if name == "int":
            return self._number()
        if name == "str":
            return "0f" * 16 if self._named.endswith("_id") and not self._spoils else self._text()
        made: dict[str, Callable[[], object]] = {"batch": self._batch, "reply": self._reply}
        if self._named in made:
            return made[self._named]()
        others: dict[str | None, tuple[object, ...]] = {
            "bool": (False, True),
            None: (None,),
            "_Digest": (_DIGEST,),
        }
        # A type of the caller's is only handed back.
        return self._random.choice(others.get(name, _HANDED_BACK))

    def _text(self) -> str:
        return self._random.choice((*_TEXTS, self._message.decode("latin-1")[: self._random.randrange(80)]))

    def _batch(self) -> list[object]:
        """Of admissions, by what is looked at of them: a nonce, and what was compiled of its charges."""
        return [
            SimpleNamespace(
                nonce=self._random.choice((None, self._spoilt(b"QcUsk_4e0zzEYFTnAHXK0A"))),
                charges=SimpleNamespace(
                    pieces=(
                        b"acme:paper:",
                        b"$16\r\n",
                        *(self._spoilt(self._message) for _ in range(3)),
                        self._few(2),
                    )
                ),
            )
            for _ in range(max(0, self._few(3)) % 50)
        ]

    def _reply(self) -> list[object]:
        return [0, 1_795_294_305_418_000, self._few(0)] * (max(0, self._few(3)) % 50)

    def _few(self, mostly: int) -> int:
        return self._number() if self._spoils and self._random.random() < 0.1 else mostly

    def _make_of(self, name: str, members: list[ast.expr], draw: Callable[[], bytes] | None) -> Any:  # noqa: ANN401
        if name == "Callable":
            return lambda *_: self._make(members[-1])
        if name.endswith("Future"):
            return _LOOP.create_future()
        if name == "Literal":
            return self._literal([ast.literal_eval(each) for each in members], draw() if draw else b"")
        if name == "tuple" and not isinstance(members[-1], ast.Constant):
            return tuple(self._make(each, draw) for each in members)
        row = self._row(self._way())
        if name == "dict":
            return {self._key(members[0], each): self._make(members[1], each) for each in row}
        made = [self._make(members[0], each) for each in row]
        return tuple(made) if name == "tuple" else made

    def _key(self, kind: ast.expr, draw: Callable[[], bytes]) -> Any:  # noqa: ANN401
        made = self._make(kind, draw)
        return made if isinstance(made, bytes | str | int) else b""

    def _row(self, way: str) -> Iterator[Callable[[], bytes]]:
        """As many as a container is to hold: for each, what its bytes are."""
        pieces = self._pieces(way)
        if self._spoils and self._random.random() < 0.5:
            pieces = pieces[: self._random.randrange(len(pieces) + 1)]
        for piece in pieces[:40]:
            yield lambda piece=piece: piece  # type: ignore[misc]

    def _piece(self) -> bytes:
        """Mostly the value of the header that is named like the argument, if there is one."""
        head = self._message.partition(b"\r\n\r\n")[0]
        likely = re.search(rb"%b: (.*)" % re.escape(self._named.encode() or b"\0"), head)
        if likely and self._random.random() < 0.8:
            return likely[1].rstrip(b"\r")
        pieces = self._pieces(self._way())
        return pieces[0] if self._random.random() < 0.5 else self._random.choice(pieces)

    def _literal(self, known: list[Any], beside: bytes) -> Any:  # noqa: ANN401
        """Mostly what the bytes beside it speak of, or nothing."""
        if self._random.random() < 0.05:
            return self._random.choice(known)
        spoken_of = [
            each for each in known if isinstance(each, str) and each and each.encode() in beside.lower()
        ]
        return (spoken_of or [known[-1]])[0]

    def _way(self) -> str:
        if self._random.random() < 0.8:
            for way, names in _WAYS.items():
                if any(name in self._named for name in names):
                    return way
        return self._random.choice(("whole", "lines", "names", "values", "words"))

    def _pieces(self, way: str) -> list[bytes]:
        head = self._message.partition(b"\r\n\r\n")[0].split(b"\r\n")
        pairs = [line.partition(b":") for line in head[1:]]
        pieces = {
            "whole": [self._message],
            "lines": head,
            "names": [name for name, _, _ in pairs],
            "values": [value.strip() for _, _, value in pairs],
            "words": re.split(rb"[\s:]+", self._message),
        }[way]
        return pieces or [b""]

    def _number(self) -> int:
        if self._is_birth and self._random.random() < 0.8:
            return self._random.choice((1_000, 65_536))
        names = [name.lower() for name in self._pieces("names")]
        if b"content-length" in names and self._named == "length" and not self._spoils:
            # Where its value stands.
            return names.index(b"content-length")
        if self._spoils and self._random.random() < 0.3:
            return self._random.choice(_ODD_NUMBERS)
        return self._random.choice((*_WHOLE_NUMBERS, len(self._message), self._random.randrange(600)))

    def _spoilt(self, piece: bytes) -> bytes:
        """Where these arguments are to be spoilt, something is changed in one or two places of some."""
        if not self._spoils or self._random.random() < 0.3:
            return piece
        for _ in range(self._random.randrange(1, 3)):
            at, end = sorted((self._random.randrange(len(piece) + 1), self._random.randrange(len(piece) + 1)))
            piece = self._random.choice(
                (
                    piece[:at] + bytes([self._random.randrange(256)]) + piece[at + 1 :],
                    piece[:at] + self._random.choice(_PIECES) + piece[at:],
                    piece[:at] + piece[end:],
                    piece[:at],
                    piece[at:end],
                    piece[:end] + piece[at:],
                )
            )
        return piece


def _members(inside: ast.expr) -> list[ast.expr]:
    return inside.elts if isinstance(inside, ast.Tuple) else [inside]
