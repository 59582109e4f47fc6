"""Where an authorization response may go, and how it is written. Pure.

Invariant: a response goes to a URI that was registered, letter by letter; only the port of a loopback address is the
application's to choose when it runs (RFC 8252). Refuses everything else; nothing is normalised.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib import parse

from auth.oauth.refusals import Refused

LONGEST: Final = 2_000

# By number: what `localhost` leads to is for a resolver to say.
_LOOPBACK: Final = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([0-9]{1,5}))?((?:[/?].*)?)", re.ASCII)
_HIGHEST_PORT: Final = 65_535


def require_registered(asked: str | None, registered: Collection[str]) -> str:
    if asked is None:
        raise Refused("invalid_request", "redirect_uri is required")
    if len(asked) > LONGEST or not is_registered(asked, registered):
        raise Refused("invalid_request", "redirect_uri is not one of those that the client registered")
    return asked


def is_registered(asked: str, registered: Collection[str]) -> bool:
    if asked in registered:
        return True
    without = _without_port(asked)
    return without is not None and any(without == _without_port(each) for each in registered)


def add(redirect_uri: str, parameters: Mapping[str, str | None]) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    separator = "&" if "?" in redirect_uri else "?"
    return redirect_uri + separator + parse.urlencode(given, quote_via=parse.quote)


def _without_port(uri: str) -> tuple[str, str] | None:
    found = _LOOPBACK.fullmatch(uri)
    if found is None or int(found[2] or 0) > _HIGHEST_PORT:
        return None
    return found[1], found[3]
