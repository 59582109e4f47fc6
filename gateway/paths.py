"""The one canonical form of a request target. Whatever is not already in it is refused, never repaired.

Invariant: a `Target` is the bytes as sent. Signing, routing, policy and upstream all read the same path, and
because every path has one spelling only, none of them can be made to read another one than the rest.

The path refuses: anything that does not begin with "/" (absolute form, authority form, "*"), empty segments,
dot segments, ";" and backslash, raw or escaped, the escapes %2F %3F %23 (an upstream may decode them into the
delimiters they name), control characters, escapes of characters that need none ("%41" is a second spelling
of "A", "%2e" of "."), lowercase escapes, escapes that are not UTF-8, and what no URI path may hold raw. It
also refuses %25: an upstream that decodes twice would read "%252F" as "/", and no name in an API needs a
"%". Escapes of reserved characters ("%40", "%2B") are something else than the raw characters (RFC 3986,
section 2.2), and pass as what they are.

The query is opaque, and only what cannot stand on a request line is refused there. A bare "?" is kept.
"""

import re

from msgspec import Struct

from gateway.kept import Kept
from gateway.trace import LONGEST_PATH

_TAIL = rb"%[89AB][0-9A-F]"
# An escape that may stand in a path: ASCII that is neither unreserved, control, nor one of # % / ; ? \, then
# UTF-8 in its shortest form without surrogates (RFC 3629, section 4) and without the C1 controls.
_ESCAPE = (
    rb"%(?:2[01246789ABC]|3[ACDE]|40|5[BDE]|60|7[BCD]"
    rb"|C2%[AB][0-9A-F]|(?:C[3-9A-F]|D[0-9A-F])" + _TAIL + rb"|E0%[AB][0-9A-F]" + _TAIL + rb"|ED%[89][0-9A-F]"
    + _TAIL
    + rb"|E[1-9A-CEF]" + _TAIL * 2 + rb"|F0%[9AB][0-9A-F]" + _TAIL * 2 + rb"|F[1-3]" + _TAIL * 3
    + rb"|F4%8[0-9A-F]" + _TAIL * 2 + rb")"
)  # fmt: skip
_RAW = rb"A-Za-z0-9\-._~!$&'()*+,=:@"
_SEGMENT = rb"(?!\.{1,2}(?:[/?]|\Z))(?:[" + _RAW + rb"]++|" + _ESCAPE + rb")++"
# Possessive throughout: linear in the target's length, whatever it holds.
_TARGET = re.compile(rb"((?:/" + _SEGMENT + rb")++/?+|/)(?:\?([!\"$-~]*+))?")

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_RAW_ALLOWED = _UNRESERVED | frozenset(b"!$&'()*+,=:@/")
_ESCAPE_REFUSED = frozenset(b"#%/;?\\")
_HEX = frozenset(b"0123456789ABCDEFabcdef")
_HEX_LOWER = frozenset(b"abcdef")
_FIRST_VISIBLE, _DELETE, _C1_END = 0x20, 0x7F, 0xA0


class MalformedPath(Exception):
    """The target is not in canonical form. The message says what is wrong with it, quoting escapes only."""


# Programs ask for few targets again and again, and those are short.
_LONGEST_KEPT = 256
_MOST_KEPT = 1024


class Target(Struct, frozen=True, gc=False, cache_hash=True):
    """`raw` is the path, and when it was sent "?" and `query`. A bare "?" leaves its trace in `raw` alone.

    `path` is for whoever reads it, `path_bytes` for whoever signs it, and `shown` for a line in the log.
    """

    raw: bytes
    path: str
    path_bytes: bytes
    query: bytes
    shown: str


def canonical_target(raw: bytes) -> Target:
    match = _TARGET.fullmatch(raw)
    if match is None:
        raise MalformedPath(_diagnose(raw) or "the request target is not in canonical form")
    path_bytes, query = match.groups(b"")
    path = path_bytes.decode("ascii")
    return Target(raw, path, path_bytes, query, path[:LONGEST_PATH])


def _is_short(raw: bytes) -> bool:
    return len(raw) <= _LONGEST_KEPT


# `canonical_target` of targets as they were sent: `canonical[raw]` refuses just as it does.
canonical = Kept(canonical_target, is_small=_is_short, most=_MOST_KEPT)


def _diagnose(raw: bytes) -> str | None:
    """Name what is wrong, reading the target a second time in another way; None is the answer for a good one.

    Only the sentence depends on this: what the expression above did not accept stays refused.
    """
    if not raw.startswith(b"/"):
        return 'the request target does not begin with "/": only the origin form is served here'
    path, _, query = raw.partition(b"?")
    return (
        _diagnose_raw_bytes(path)
        or _diagnose_escapes(path)
        or _diagnose_segments(path)
        or _diagnose_query(query)
    )


def _diagnose_raw_bytes(path: bytes) -> str | None:
    if b";" in path:
        return 'the path holds ";": segment parameters are not served'
    if b"\\" in path:
        return "the path holds a backslash"
    if b"#" in path:
        return 'the path holds "#": a fragment is never sent'
    for byte in path:
        if byte != ord("%") and byte not in _RAW_ALLOWED:
            return f"the path holds {_name_byte(byte)}, which has to be escaped"
    return None


def _name_byte(byte: int) -> str:
    if byte == _FIRST_VISIBLE:
        return "a space"
    if byte < _FIRST_VISIBLE or byte == _DELETE:
        return "a control character"
    return "a byte outside ASCII" if byte > _DELETE else f'a raw "{chr(byte)}"'


def _diagnose_escapes(path: bytes) -> str | None:
    decoded = bytearray()
    at = 0
    while at < len(path):
        if path[at] != ord("%"):
            decoded.append(path[at])
            at += 1
            continue
        fault = _diagnose_escape(path[at : at + 3])
        if fault is not None:
            return fault
        decoded.append(int(path[at + 1 : at + 3], 16))
        at += 3
    return _diagnose_text(bytes(decoded))


def _diagnose_escape(escape: bytes) -> str | None:
    digits = escape[1:]
    if len(digits) != 2 or not _HEX.issuperset(digits):  # noqa: PLR2004  an escape has two digits
        return 'the path holds a "%" without two hexadecimal digits after it'
    shown = escape.decode("ascii")
    byte = int(digits, 16)
    if byte in _UNRESERVED:
        return f'the path holds {shown}, a second spelling of "{chr(byte)}", which needs no escape'
    if not _HEX_LOWER.isdisjoint(digits):
        return f"the path holds {shown}: escapes are written in uppercase"
    if byte < _FIRST_VISIBLE or byte == _DELETE:
        return f"the path holds {shown}, an escaped control character"
    if byte in _ESCAPE_REFUSED:
        return f'the path holds {shown}, an escaped "{chr(byte)}", which some servers decode'
    return None


def _diagnose_text(decoded: bytes) -> str | None:
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "the path's escapes are not valid UTF-8"
    if any(_DELETE < ord(character) < _C1_END for character in text):
        return "the path holds an escaped control character"
    return None


def _diagnose_segments(path: bytes) -> str | None:
    segments = path.split(b"/")[1:]
    if b"" in segments[:-1]:
        return 'the path holds "//", an empty segment'
    if b"." in segments or b".." in segments:
        return 'the path holds "." or ".." as a segment'
    return None


def _diagnose_query(query: bytes) -> str | None:
    for byte in query:
        if byte == ord("#"):
            return 'the query holds "#": a fragment is never sent'
        if byte <= _FIRST_VISIBLE or byte >= _DELETE:
            return f"the query holds {_name_byte(byte)}, which has to be escaped"
    return None
