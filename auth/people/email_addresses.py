"""Email addresses as they are compared: one spelling for all that reach one mailbox in practice. Pure.

Invariant: what passes is one line of printable ASCII, so that it can stand in a mail's header and in a log as it is.
Refuses: quoted and commented forms, addresses in other scripts (whose look-alikes are two), literal hosts, and what a
mail's header would be decoded from into another address (RFC 2047).
"""

import re
from typing import Final

from auth.people.failures import InvalidEmail

_LONGEST: Final = 254
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ENCODED: Final = "=?"
_ADDRESS: Final = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*", re.ASCII)


def parse(text: str) -> str:
    """The address as it is compared. Nearly nobody's mailbox tells capitals apart, and two accounts must not."""
    found = find(text)
    if found is None:
        raise InvalidEmail
    return found


def find(text: str) -> str | None:
    stripped = text.strip()
    if len(stripped) > _LONGEST or _ENCODED in stripped or _ADDRESS.fullmatch(stripped) is None:
        return None
    return stripped.lower()
