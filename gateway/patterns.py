"""Path patterns of routes: literal segments, `{name}` for exactly one segment, a final `**` for one or more.

Invariant: the literal parts are canonical (`gateway.paths`), so a pattern never waits for a path that cannot
come. The first segment is literal, so that no pattern can cover the paths the gateway keeps for itself; those
are refused here.
"""

import re

from msgspec import Struct

from gateway import paths

# First segments that belong to the gateway's own surfaces.
RESERVED_ROOTS = frozenset({"edge", "oauth", "control", "console", "health", "metrics", ".well-known"})

_PARAMETER = re.compile(r"\{([a-z][a-z0-9_]*)\}", re.ASCII)
_WILD = frozenset("{}*")


class InvalidPattern(ValueError):
    """The message completes a sentence that begins with the place of the pattern."""


class Pattern(Struct, frozen=True):
    """`segments` holds None where any one segment may stand; `rest` says that at least one more follows."""

    segments: tuple[str | None, ...]
    rest: bool

    @property
    def is_literal(self) -> bool:
        return not self.rest and None not in self.segments


def parse(text: str) -> Pattern:
    pattern = parse_own(text)
    _require_own_root(pattern)
    return pattern


def parse_own(text: str) -> Pattern:
    """One of the gateway's own paths, which begin where no configured route may."""
    pieces = text.split("/")
    rest = pieces[-1] == "**"
    fixed = pieces[1:-1] if rest else pieces[1:]
    _require_canonical(text, pieces)
    _require_distinct_names(fixed)
    return Pattern(tuple(_parse_segment(piece) for piece in fixed), rest)


def is_prefix(prefix: str, text: str) -> bool:
    """Whether `prefix` is made of whole leading segments of the pattern `text`, none of them wild."""
    if not prefix.startswith("/") or prefix.endswith("/") or not _WILD.isdisjoint(prefix):
        return False
    return text == prefix or text.startswith(prefix + "/")


def _parse_segment(piece: str) -> str | None:
    if _PARAMETER.fullmatch(piece):
        return None
    if not _WILD.isdisjoint(piece):
        raise InvalidPattern('a segment is literal or "{name}" as a whole, and "**" stands only at the end')
    return piece


def _require_canonical(text: str, pieces: list[str]) -> None:
    if "?" in text:
        raise InvalidPattern("a pattern has no query")
    # Parameters stand for any segment, so some segment takes their place.
    example = "/".join("x" if _PARAMETER.fullmatch(piece) else _without_wild(piece) for piece in pieces)
    try:
        paths.canonical_target(example.encode("utf-8"))
    except paths.MalformedPath as failure:
        raise InvalidPattern(f"no path can match: {failure}") from None


def _without_wild(piece: str) -> str:
    return piece.translate({ord("{"): "x", ord("}"): "x"})


def _require_distinct_names(pieces: list[str]) -> None:
    names = [match[1] for piece in pieces if (match := _PARAMETER.fullmatch(piece))]
    if len(names) != len(set(names)):
        raise InvalidPattern("two segments have the same name")


def _require_own_root(pattern: Pattern) -> None:
    root = pattern.segments[0] if pattern.segments else None
    if root is None:
        raise InvalidPattern("the first segment has to be literal")
    if root in RESERVED_ROOTS:
        raise InvalidPattern(f'"/{root}" is kept for the gateway itself')
