"""Proof Key for Code Exchange (RFC 7636), by S256 alone. Pure.

Invariant: a code without a challenge is never made, and a verifier that did not make the challenge never redeems one.
Refuses `plain`, which is what the RFC takes where no method is named.
"""

import base64
import hashlib
import hmac
import re
from typing import Final

from auth.oauth.refusals import Refused

METHOD: Final = "S256"

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43,128}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def parse_challenge(challenge: str | None, method: str | None) -> str:
    if method != METHOD:
        raise Refused("invalid_request", "code_challenge_method has to be S256")
    if challenge is None or _CHALLENGE.fullmatch(challenge) is None:
        raise Refused("invalid_request", "code_challenge has to be 43 to 128 letters of base64url")
    return challenge


def parse_verifier(verifier: str | None) -> str:
    if verifier is None or _VERIFIER.fullmatch(verifier) is None:
        # Missing or malformed, it is one that did not make the challenge.
        raise Refused("invalid_grant", "code_verifier has to be 43 to 128 unreserved letters")
    return verifier


def made(verifier: str, challenge: str) -> bool:
    made_of_it = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=")
    return hmac.compare_digest(made_of_it, challenge.encode("ascii"))
