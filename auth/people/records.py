"""People as others see them: accounts, sessions and what a step of signing in came to. Pure.

Invariant: none of these values shows a secret in its text. What a browser is given is a `Secret`; the value that its
forms carry is derived from it, and left out of every `repr`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from keys.secret import Secret

AccountState = Literal["invited", "active", "disabled"]
# What is still missing: to sign in at all, a second factor, or to get one.
Need = Literal["sign-in", "second-factor", "enrolment"]
Offer = Literal["totp", "passkey", "recovery-code"]

# How somebody has proved themselves, by the names of RFC 8176. `MULTIPLE`: by two factors, be it in one passkey.
PASSWORD: Final = "pwd"  # noqa: S105  the name of a method
ONE_TIME: Final = "otp"
HARDWARE_KEY: Final = "hwk"
SOFTWARE_KEY: Final = "swk"
MULTIPLE: Final = "mfa"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """`email` as it is compared, `shown_email` as it was written. `partner`: none for those who keep the gateway."""

    id: str
    email: str
    shown_email: str
    name: str
    partner: str | None
    roles: tuple[str, ...]
    state: AccountState
    has_password: bool
    has_totp: bool
    passkeys: int
    recovery_codes: int
    created_at: int
    signed_out_at: int | None = None
    disabled_at: int | None = None
    disabled_reason: str | None = None
    revision: int = 0

    @property
    def has_second_factor(self) -> bool:
        return self.has_totp or self.passkeys > 0


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    label: str
    backed_up: bool
    created_at: int
    last_used_at: int | None


class OwnSession(msgspec.Struct, frozen=True, kw_only=True):
    """One of somebody's sessions, as they are shown it. `is_this`: the one that asks."""

    id: str
    methods: tuple[str, ...]
    created_at: int
    seen_at: int
    expires_at: int
    source: str
    agent: str
    is_this: bool


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has proved all that their roles ask for. `csrf`: what their forms have to carry.

    Roles are those of this moment, and not of when they signed in. `authenticated_at`: when they last proved anything.
    """

    session_id: str
    account_id: str
    email: str
    name: str
    partner: str | None
    roles: tuple[str, ...]
    methods: frozenset[str]
    authenticated_at: int
    csrf: str

    def __repr__(self) -> str:
        return f"SignedIn(session_id={self.session_id!r}, account_id={self.account_id!r})"


class HalfSignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A session that lets nobody do anything but what is still missing. `offers`: by what they could go on.

    Without an account nobody has said who they are yet: there is only a challenge that a passkey is to answer.
    """

    session_id: str
    account_id: str | None
    email: str | None
    name: str | None
    methods: frozenset[str]
    needs: Need
    offers: tuple[Offer, ...]
    csrf: str

    def __repr__(self) -> str:
        return f"HalfSignedIn(session_id={self.session_id!r}, needs={self.needs!r})"


class Step(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What follows a proof: a session, and the value that its cookie has from now on. The one before is worth nothing.

    `recovery_codes`: shown this once, where new ones were made.
    """

    cookie: Secret
    session: SignedIn | HalfSignedIn
    recovery_codes: tuple[Secret, ...] = ()


class PasskeyOptions(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What the browser's `navigator.credentials` is to be asked with, as JSON. `cookie`: a new value, if any."""

    options: str
    cookie: Secret | None = None


class RelyingParty(msgspec.Struct, frozen=True, kw_only=True):
    """The domain that passkeys are made for, the origin that may use them, and what people call us."""

    id: str
    origin: str
    name: str = "Portreeve"


class TotpEnrolment(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A one-time password's secret, shown this once: as text to type and as the address that a QR code holds."""

    secret: Secret
    uri: Secret
