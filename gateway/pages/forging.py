"""That a form was sent from a page of ours, to the one browser that it was shown in.

Two proofs, and both are needed. The browser itself says which site a request began at (`Sec-Fetch-Site`; where a
browser has none, `Origin`): our pages say no referrer, so `Origin` reads `null` there and proves nothing. And the form
holds a key that is derived from a cookie that no other site can read or set (`__Host-`): who is signed in has one of
the session, who is not gets one for the forms alone.

Invariant: a form without both is refused before anything in it is looked at.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

FIELD: Final = "form_key"
_LABEL: Final = b"portreeve form key v1"
_SAFE_SITE: Final = "same-origin"
_NO_ORIGIN: Final = "null"


class ForgedForm(Exception):
    """A form that did not come from a page of ours, or was shown to somebody else, or too long ago."""


def form_key(cookie: str) -> str:
    """For who has no session, of the cookie for forms; it does not tell the cookie's value."""
    return hmac.new(cookie.encode(), _LABEL, hashlib.sha256).hexdigest()


def require_own_form(expected: str | None, presented: str | None) -> None:
    """`expected`: the key of whoever sends it."""
    if not expected or not presented:
        raise ForgedForm("the form has no key")
    if not hmac.compare_digest(expected.encode(), presented.encode()):
        raise ForgedForm("the form's key is not this browser's")


def require_own_origin(site: str | None, origin: str | None, own: str) -> None:
    """`site` and `origin` as the browser sent them; `own` is the origin that these pages are served at."""
    if origin not in {None, _NO_ORIGIN, own}:
        raise ForgedForm("the form was sent from another origin")
    if site is not None and site != _SAFE_SITE:
        raise ForgedForm("the form was sent from another site")
    if site is None and origin != own:
        raise ForgedForm("the browser does not say where the form was sent from")
