"""What may be said again of what somebody typed: a credential in the place of an id is not repeated in the complaint.

Invariant: nothing that begins as our secrets do, and nothing quoted that is longer than ids are, leaves `mask` as it
came; mistyped or cut short makes no difference. Everything else does. Pure.
"""

import re
from typing import Final

HIDDEN: Final = "(not repeated)"

# As long as what is quoted goes on, and be its end cut off. Addresses and paths may be long, and are nobody's secret.
_QUOTED: Final = re.compile(r"""(['"`])(?![./~]|[a-z][a-z0-9+.-]*://)[^\s'"`]{64,}(?:\1|$)?""")
_CREDENTIAL: Final = re.compile(r"(?:p(?:rs|cs|it|rt)_|whsec_)[0-9A-Za-z+/_=-]{8,}", re.IGNORECASE)


_LONGEST_NAME: Final = 63


def mask(text: str) -> str:
    return mask_credentials(_QUOTED.sub(HIDDEN, text))


def mask_credentials(text: str) -> str:
    """For what is quoted throughout, such as a line of a log."""
    return _CREDENTIAL.sub(HIDDEN, text)


def mask_path(path: str) -> str:
    """A name that nothing would have: what is neither path nor sentence, and longer than ids are."""
    return mask(path) if "/" in path or " " in path or len(path) <= _LONGEST_NAME else HIDDEN


def mask_pointer(pointer: str) -> str:
    """Every step of a way that somebody named."""
    return "/".join(map(mask_path, pointer.split("/")))
