"""The string that a PORTREEVE1 signature covers.

Invariant: two requests that differ in a field never share a string. Eight lines go in and every field is
one line, so the split is unique; the bytes of the target stand as they were sent, with nothing decoded,
sorted or re-encoded.
Refuses: a field with a line end in it, since that could make one request read as another.
"""

from typing import Final

LABEL: Final = "PORTREEVE1"
_LINE_ENDS: Final = 7


class AmbiguousField(ValueError):
    """A field holds a line end. Parsing stops that earlier; reaching this is a defect in the caller."""


def string_to_sign(  # noqa: PLR0913, PLR0917  one parameter per signed line, in the order of the contract
    timestamp: str, nonce: str, key_id: str, method: str, path: bytes, query: bytes, body_sha256_hex: str
) -> bytes:
    head = f"{LABEL}\n{timestamp}\n{nonce}\n{key_id}\n{method}".encode("ascii")
    canonical = b"\n".join((head, path, query, body_sha256_hex.encode("ascii")))
    if canonical.count(b"\n") != _LINE_ENDS:
        raise AmbiguousField("a field of the string to sign holds a line end")
    return canonical
