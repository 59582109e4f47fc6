"""The form that a client sends to an endpoint of the authorization server, read strictly.

Invariant: what a form says can be read in one way only. Every parameter stands in the body, once; its bytes are
UTF-8, and no escape is broken. A parameter without a value counts as one that was not sent (RFC 6749), and all the same
may not come again.
Refuses: another content type, an encoded body, more than `LARGEST` bytes, parameters in the query, and all the above.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from auth.oauth import errors

LARGEST: Final = 32_768
_MOST_PARAMETERS: Final = 64
_TYPE: Final = re.compile(
    r'application/x-www-form-urlencoded(\s*;\s*charset\s*=\s*"?utf-8"?)?\s*', re.IGNORECASE
)
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_UNSUPPORTED: Final = 415
_TOO_LARGE: Final = 413


def require_form(content_type: str | None, content_encoding: str | None, query: bytes) -> None:
    if query:
        raise errors.invalid_request("Parameters are taken in the body alone, never in the address.")
    if content_type is None or _TYPE.fullmatch(content_type) is None or content_encoding is not None:
        raise errors.invalid_request(
            "The body is to be application/x-www-form-urlencoded, as it stands.", status=_UNSUPPORTED
        )


def too_large() -> errors.OAuthError:
    return errors.invalid_request(f"The body is larger than {LARGEST} bytes.", status=_TOO_LARGE)


def parse(body: bytes) -> dict[str, str]:
    if len(body) > LARGEST:
        raise too_large()
    if not body:
        return {}
    if not body.isascii() or _BROKEN_ESCAPE.search(body):
        raise _malformed()
    pairs = body.split(b"&")
    if len(pairs) > _MOST_PARAMETERS:
        raise errors.invalid_request(f"There are more than {_MOST_PARAMETERS} parameters.")
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition(b"=")
        key = _decode(name)
        if not key or not equals:
            raise _malformed()
        if key in found:
            raise errors.invalid_request("A parameter comes more than once.")
        found[key] = _decode(value)
    return {key: value for key, value in found.items() if value}


def _decode(encoded: bytes) -> str:
    try:
        text = unquote_to_bytes(encoded.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise _malformed() from None
    if _CONTROL.search(text):
        raise _malformed()
    return text


def _malformed() -> errors.OAuthError:
    return errors.invalid_request("The body is not a well-formed form.")
