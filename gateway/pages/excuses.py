"""What a person is told when what they typed or showed was not accepted, above the form to try again with.

Invariant: none of it tells whether there is such an account, nor which of several proofs was wrong.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from auth.people import failures
from gateway.pages.answers import Page
from gateway.trace import Trace

_SIGN_IN: Final = "This email and password do not sign anybody in. Look at both again."
_CODE: Final = "This is not the code of this moment, or it was used already. Wait for the next one."
_PASSKEY: Final = "This passkey was not accepted. Try again, or choose another way."
_TOO_OFTEN: Final = "Too many attempts. Wait a few minutes, then try again."
_BUSY: Final = "Too many people are signing in at this moment. Try again in a few seconds."
_TICKET: Final = "This link has been used, has expired, or was replaced by a newer one. Ask for a new one."


class Excuse(msgspec.Struct, frozen=True):
    """`code` is for the log."""

    text: str
    status: int
    code: str
    headers: dict[str, str] = {}


_TABLE: Final[dict[type[Exception], Excuse]] = {
    failures.SignInRefused: Excuse(_SIGN_IN, 403, "sign_in_refused"),
    failures.CodeRefused: Excuse(_CODE, 403, "code_refused"),
    failures.PasskeyRefused: Excuse(_PASSKEY, 403, "passkey_refused"),
    failures.HashingBusy: Excuse(_BUSY, 503, "overloaded", {"retry-after": "2"}),
    failures.TicketRefused: Excuse(_TICKET, 403, "ticket_refused"),
    failures.Throttled: Excuse(_TOO_OFTEN, 429, "rate_limited"),
}
# Their sentences are written for whoever typed it, and repeat nothing of it.
_SPOKEN: Final = (
    failures.PasswordRefused,
    failures.InvalidLabel,
    failures.SecondFactorNeeded,
    failures.NothingEnrolled,
    failures.TooManyPasskeys,
    failures.UnknownPasskey,
    failures.UnknownSession,
)
EXCUSED: Final[tuple[type[Exception], ...]] = (*_TABLE, *_SPOKEN)


def find(failure: Exception) -> Excuse | None:
    if isinstance(failure, failures.Throttled):
        seconds = -(-failure.retry_after_ms // 1000)
        return msgspec.structs.replace(_TABLE[failures.Throttled], headers={"retry-after": str(seconds)})
    if isinstance(failure, _SPOKEN):
        text = str(failure)
        return Excuse(text[:1].upper() + text[1:] + ".", 400, "invalid_request")
    return next((excuse for kind, excuse in _TABLE.items() if isinstance(failure, kind)), None)


def again(trace: Trace, failure: Exception, template: str, values: dict[str, Any]) -> Page:
    """The page once more, with what was wrong above its form."""
    excuse = find(failure)
    if excuse is None:
        raise failure
    trace.refuse(excuse.code)
    return Page(template, {**values, "told": excuse.text}, excuse.status, headers=excuse.headers)
