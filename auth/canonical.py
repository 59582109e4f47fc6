"""The string that a PORTREEVE1 signature covers.

Invariant: two requests that differ in a field never share a string. Eight lines go in and every field is
one line, so the split is unique; the bytes of the target stand as they were sent, with nothing decoded,
sorted or re-encoded.
Refuses: a field with a line end in it, since that could make one request read as another.
"""

from typing import Final

import compiled

_SCHEME: Final = b"PORTREEVE1"
_LINE_ENDS: Final = 7


class AmbiguousField(ValueError):
    """A field holds a line end. Parsing stops that earlier; reaching this is a defect in the caller."""


def _string_to_sign(  # noqa: PLR0913, PLR0917  one parameter per signed line, in the order of the contract
    timestamp: bytes,
    nonce: bytes,
    key_id: bytes,
    method: bytes,
    path: bytes,
    query: bytes,
    body_sha256_hex: bytes,
) -> bytes:
    canonical = b"\n".join((_SCHEME, timestamp, nonce, key_id, method, path, query, body_sha256_hex))
    if canonical.count(b"\n") != _LINE_ENDS:
        raise AmbiguousField("a field of the string to sign holds a line end")
    return canonical


# The compiled one leaves to the other what is in doubt.
string_to_sign = _string_to_sign
if compiled.IS_USED:
    from compiled.claims import LineWriter

    string_to_sign = LineWriter(_SCHEME, _string_to_sign).write
