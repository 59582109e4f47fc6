"""The failures of this room's people, each by its name.

Invariant: none of them repeats what somebody typed, and none of those that strangers can provoke tells whether there
is such an account.
"""

from keys import refusals


class SignInRefused(Exception):
    """Unknown, disabled, not yet accepted, or proved wrongly: which of these is not told."""

    def __init__(self) -> None:
        super().__init__("this does not sign anybody in")


class SessionMissing(Exception):
    """There is no such session (any more), or it is not one that may do this."""

    def __init__(self) -> None:
        super().__init__("sign in first")


class StepUpNeeded(Exception):
    """Signed in, but too long ago for this: they have to prove themselves again."""

    def __init__(self) -> None:
        super().__init__("prove that it is still you first")


class Throttled(Exception):
    """Too many attempts, for this account or from this source: which of the two is not told."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("too many attempts: wait a little")
        self.retry_after_ms = retry_after_ms


class HashingBusy(Exception):
    """As many passwords wait to be worked out as may: nobody else's is taken on."""

    def __init__(self) -> None:
        super().__init__("too many people are signing in at this moment")


class TicketRefused(Exception):
    """Unknown, used, expired or replaced by a newer one: which of these is not told."""

    def __init__(self) -> None:
        super().__init__("this link is good for nothing (any more): ask for a new one")


class PasskeyRefused(Exception):
    """What the browser answered does not prove what it should. Why stands in the log, and nowhere else."""

    def __init__(self) -> None:
        super().__init__("this passkey was not accepted")


class PasswordRefused(refusals.InvalidRequest):
    """Nobody may have this password."""

    field = "password"


class InvalidEmail(refusals.InvalidRequest):
    field = "email"

    def __init__(self) -> None:
        super().__init__("not an address that mail can be sent to: write it as name@example.com, in ASCII")


class InvalidName(refusals.InvalidRequest):
    field = "name"


class InvalidRoles(refusals.InvalidRequest):
    field = "roles"


class InvalidLabel(refusals.InvalidRequest):
    field = "label"


class CodeRefused(refusals.InvalidRequest):
    """A one-time password that is not the one of this moment, or that was taken already."""

    field = "code"

    def __init__(self) -> None:
        super().__init__("not the code of this moment, or one that was used already")


class UnknownAccount(refusals.NotFound):
    def __init__(self, named: str) -> None:
        super().__init__(f"there is no account {named!r:.80}")


class UnknownPasskey(refusals.NotFound):
    def __init__(self) -> None:
        super().__init__("there is no such passkey of yours")


class UnknownSession(refusals.NotFound):
    def __init__(self) -> None:
        super().__init__("there is no such session of yours")


class AccountExists(refusals.Conflict):
    def __init__(self, email: str) -> None:
        super().__init__(f"there is an account of {email!r:.80} already")


class AccountMoved(refusals.Conflict):
    def __init__(self, account_id: str) -> None:
        super().__init__(f"{account_id} has changed in the meantime: look at it again")


class AccountAlreadyDisabled(refusals.Conflict):
    def __init__(self, account_id: str) -> None:
        super().__init__(f"{account_id} is disabled already")


class AccountNotDisabled(refusals.Conflict):
    def __init__(self, account_id: str) -> None:
        super().__init__(f"{account_id} is not disabled")


class AccountNotActive(refusals.Conflict):
    def __init__(self, account_id: str) -> None:
        super().__init__(f"{account_id} is not active")


class SecondFactorNeeded(refusals.Conflict):
    """Their roles ask for a second factor, and this is the last one."""

    def __init__(self) -> None:
        super().__init__("your roles need a second factor: add another one first")


class NothingEnrolled(refusals.Conflict):
    def __init__(self) -> None:
        super().__init__("there is nothing of the kind to confirm or to remove")


class TooManyPasskeys(refusals.Conflict):
    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} passkeys already: remove one first")


class NothingToChange(refusals.Conflict):
    def __init__(self, account_id: str) -> None:
        super().__init__(f"{account_id} is just that: there is nothing to change")
