"""The two cookies of the pages, and how they are read.

Invariant: both are bound to this host alone (`__Host-`), over TLS alone, and unreadable to scripts. A request that
carries one of them twice carries none: which of them was ours cannot be known.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from litestar.datastructures import Cookie

SESSION: Final = "__Host-portreeve-session"
FORMS: Final = "__Host-portreeve-forms"
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_RANDOM_BYTES: Final = 32


def find(header: str, name: str) -> str | None:
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    found = [value for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 and _VALUE.fullmatch(found[0]) else None


def new_value(entropy: Callable[[int], bytes]) -> str:
    return base64.urlsafe_b64encode(entropy(_RANDOM_BYTES)).rstrip(b"=").decode()


def written(name: str, value: str) -> Cookie:
    """It ends with the browser; how long a session lives is known here alone."""
    return Cookie(name, value=value, path="/", secure=True, httponly=True, samesite="lax")


def withdrawn(name: str) -> Cookie:
    return Cookie(name, value="", max_age=0, path="/", secure=True, httponly=True, samesite="lax")
