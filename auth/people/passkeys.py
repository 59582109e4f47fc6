"""Passkeys (WebAuthn): made, used to sign in without a password, used as a second factor, and taken away.

Invariant: whatever a browser answers is verified against the challenge that this very session was given, which is
taken when it is answered, rightly or wrongly, and is good for five minutes. The authenticator has verified its holder,
by finger, face or PIN: so one passkey is two factors. Its counter never goes back. Refuses, alike: a passkey of
nobody, of somebody who is disabled, for another domain, and a wrong signature.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import webauthn
from sqlalchemy.ext.asyncio import AsyncEngine
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from auth.people import account_rows, passkey_rows, recovery_codes, session_rows
from auth.people.failures import (
    InvalidLabel,
    PasskeyRefused,
    SessionMissing,
    TooManyPasskeys,
    UnknownPasskey,
)
from auth.people.records import (
    HARDWARE_KEY,
    MULTIPLE,
    SOFTWARE_KEY,
    Account,
    Passkey,
    PasskeyOptions,
    RelyingParty,
    SignedIn,
    Step,
)
from auth.people.second_factors import SecondFactors, get_account
from auth.people.session_rows import Began
from auth.people.sessions import Found, Sessions, record
from auth.people.throttle import Throttle
from keys import format as key_format
from keys.changes import Change, Changes, person
from keys.secret import Secret
from storage import engine

_LOG: Final = logging.getLogger("portreeve.people")
_CHALLENGE_BYTES: Final = 32
_CHALLENGE_MS: Final = 300_000
_MOST: Final = 20
_LONGEST_LABEL: Final = 64
_LONGEST_ANSWER: Final = 65_536
# As the specification bounds it; a longer one would not fit a database's index.
_LONGEST_ID: Final = 1023
# What the library raises at an answer, whatever it is made of: one that is nested too deeply, too.
_UNREADABLE: Final = (WebAuthnException, ValueError, TypeError, KeyError, RecursionError)
_VERIFIED: Final = UserVerificationRequirement.REQUIRED


class _Ceremony(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the session's row while a browser is asked."""

    purpose: Literal["register", "authenticate"]
    challenge: str
    at: int


class Passkeys:
    def __init__(  # noqa: PLR0913  where they lie, what changes them, who may, what is counted, and chance
        self,
        engine_: AsyncEngine,
        changes: Changes,
        *,
        sessions: Sessions,
        throttle: Throttle,
        factors: SecondFactors,
        entropy: Callable[[int], bytes],
        party: RelyingParty,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._sessions = sessions
        self._throttle = throttle
        self._factors = factors
        self._entropy = entropy
        self._party = party

    async def begin_registration(self, cookie: str) -> PasskeyOptions:
        found = await self._factors.get_entitled(cookie)
        account = get_account(found)
        async with engine.reading(self._engine) as conn:
            theirs = await passkey_rows.list_of(conn, account.id)
        if len(theirs) >= _MOST:
            raise TooManyPasskeys(_MOST)
        challenge = await self._challenge(found, "register")
        options = webauthn.generate_registration_options(
            rp_id=self._party.id,
            rp_name=self._party.name,
            user_name=account.shown_email,
            user_id=account.id.encode("ascii"),
            user_display_name=account.name,
            challenge=challenge,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_VERIFIED
            ),
            exclude_credentials=_describe(theirs),
        )
        return PasskeyOptions(options=webauthn.options_to_json(options))

    async def register(self, cookie: str, answer: str, label: str, *, source: str) -> Step:
        _check_label(label)
        found = await self._factors.get_entitled(cookie)
        challenge = await self._take(found, "register")
        try:
            made = webauthn.verify_registration_response(
                credential=_bounded(answer),
                expected_challenge=challenge,
                expected_rp_id=self._party.id,
                expected_origin=self._party.origin,
                require_user_verification=True,
            )
        except _UNREADABLE as cause:
            raise _refused(cause) from None
        if len(made.credential_id) > _LONGEST_ID:
            raise PasskeyRefused
        codes = recovery_codes.draw(self._entropy)
        async with self._changes.begin(person(get_account(found).id, source)) as change:
            again, account = await self._factors.read_entitled(change.conn, Secret(cookie))
            passkey_id = bytes_to_base64url(made.credential_id)
            if await passkey_rows.find(change.conn, passkey_id) is not None:
                raise PasskeyRefused
            if account.passkeys >= _MOST:
                # Others were begun elsewhere, and came first.
                raise TooManyPasskeys(_MOST)
            await passkey_rows.insert(
                change,
                passkey_id,
                account.id,
                public_key=made.credential_public_key,
                sign_count=made.sign_count,
                label=label.strip(),
                backed_up=made.credential_backed_up,
            )
            await account_rows.update(change, account.id)
            details: dict[str, object] = {"label": label.strip(), "backed_up": made.credential_backed_up}
            await record(change, "account.passkey_added", account, details)
            methods = (_method(backed_up=made.credential_backed_up), MULTIPLE)
            return await self._factors.settle(change, again, account, methods, codes)

    async def begin(self, cookie: str | None, *, source: str, agent: str = "") -> PasskeyOptions:
        """For whoever comes: to sign in by a passkey alone, to go on half signed in, or to prove themselves again."""
        await self._throttle.admit_source(source)
        found = None if cookie is None else await self._sessions.look(cookie)
        new: Secret | None = None
        theirs: tuple[passkey_rows.StoredPasskey, ...] = ()
        if found is None:
            async with engine.transaction(self._engine) as conn:
                new, _ = await self._sessions.begin_anonymous(conn, Began(source=source, agent=agent))
                found = await self._sessions.read(conn, new)
        elif found.account is not None:
            async with engine.reading(self._engine) as conn:
                theirs = await passkey_rows.list_of(conn, found.account.id)
        if found is None:
            raise SessionMissing
        options = webauthn.generate_authentication_options(
            rp_id=self._party.id,
            challenge=await self._challenge(found, "authenticate"),
            allow_credentials=_describe(theirs) or None,
            user_verification=_VERIFIED,
        )
        return PasskeyOptions(options=webauthn.options_to_json(options), cookie=new)

    async def finish(self, cookie: str, answer: str, *, source: str, agent: str = "") -> Step:
        await self._throttle.admit_source(source)
        found = await self._sessions.look(cookie)
        if found is None:
            raise SessionMissing
        challenge = await self._take(found, "authenticate")
        passkey_id = _find_id(answer)
        async with engine.reading(self._engine) as conn:
            stored = await passkey_rows.find(conn, passkey_id)
        if stored is None or found.row.account_id not in {None, stored.account_id}:
            raise PasskeyRefused
        proved = self._verify(answer, challenge, stored)
        async with self._changes.begin(person(stored.account_id, source)) as change:
            account = await account_rows.get(change.conn, stored.account_id)
            is_used = await passkey_rows.use(change, stored, proved.sign_count)
            if account.state != "active" or not is_used:
                raise PasskeyRefused
            methods = (_method(backed_up=stored.backed_up), MULTIPLE)
            new = await self._go_on(
                change, Secret(cookie), account, methods, Began(source=source, agent=agent)
            )
            return await self._sessions.describe(change, new)

    async def list_own(self, cookie: str) -> tuple[Passkey, ...]:
        session = await self._sessions.get_signed_in(cookie)
        async with engine.reading(self._engine) as conn:
            return tuple(each.show() for each in await passkey_rows.list_of(conn, session.account_id))

    async def rename(self, cookie: str, passkey_id: str, label: str, *, source: str) -> None:
        _check_label(label)
        session = await self._sessions.get_signed_in(cookie, recent=True)
        async with self._changes.begin(person(session.account_id, source)) as change:
            _, account = await self._factors.read_entitled(change.conn, Secret(cookie))
            stored = await passkey_rows.find(change.conn, passkey_id)
            if stored is None or stored.account_id != account.id:
                raise UnknownPasskey
            await passkey_rows.rename(change, passkey_id, label.strip())
            await account_rows.update(change, account.id)
            details: dict[str, object] = {"before": stored.label, "after": label.strip()}
            await record(change, "account.passkey_renamed", account, details)

    async def remove(self, cookie: str, passkey_id: str, *, source: str) -> None:
        session = await self._sessions.get_signed_in(cookie, recent=True)
        async with self._changes.begin(person(session.account_id, source)) as change:
            _, account = await self._factors.read_entitled(change.conn, Secret(cookie))
            stored = await passkey_rows.find(change.conn, passkey_id)
            if stored is None or stored.account_id != account.id:
                raise UnknownPasskey
            self._factors.require_another(account, passkey=False)
            await passkey_rows.delete(change, passkey_id)
            await account_rows.update(change, account.id)
            await self._factors.clear_useless_codes(change, account.id)
            await record(change, "account.passkey_removed", account, {"label": stored.label})

    async def _go_on(
        self, change: Change, cookie: Secret, account: Account, methods: tuple[str, ...], began: Began
    ) -> Secret:
        """In the session that there is; one that was nobody's becomes another one, of whoever has come."""
        again = await self._sessions.read(change.conn, cookie)
        if again is None or again.row.account_id not in {None, account.id}:
            raise SessionMissing
        details: dict[str, object] = {"methods": sorted(methods)}
        if again.row.account_id is None:
            await session_rows.end(change.conn, again.row.digest, change.at)
            new, row = await self._sessions.begin(change, account, methods, began)
            await record(change, "account.signed_in", account, {**details, "session": row.id})
            return new
        new, row = await self._sessions.prove(change, again.row, account, methods)
        confirmed = isinstance(again.session, SignedIn)
        action = "account.confirmed" if confirmed else "account.signed_in"
        await record(change, action, account, {**details, "session": row.id})
        return new

    def _verify(self, answer: str, challenge: bytes, stored: passkey_rows.StoredPasskey) -> _Proved:
        try:
            verified = webauthn.verify_authentication_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=self._party.id,
                expected_origin=self._party.origin,
                credential_public_key=stored.public_key,
                credential_current_sign_count=stored.sign_count,
                require_user_verification=True,
            )
        except _UNREADABLE as cause:
            raise _refused(cause) from None
        return _Proved(sign_count=verified.new_sign_count)

    async def _challenge(self, found: Found, purpose: Literal["register", "authenticate"]) -> bytes:
        challenge = self._entropy(_CHALLENGE_BYTES)
        ceremony = _Ceremony(purpose, bytes_to_base64url(challenge), self._sessions.now_ms())
        written = msgspec.json.encode(ceremony).decode()
        async with engine.transaction(self._engine) as conn:
            if not await session_rows.set_ceremony(conn, found.row.digest, written):
                raise SessionMissing
        return challenge

    async def _take(self, found: Found, purpose: Literal["register", "authenticate"]) -> bytes:
        if found.row.ceremony is None:
            raise PasskeyRefused
        async with engine.transaction(self._engine) as conn:
            is_taken = await session_rows.take_ceremony(conn, found.row)
        ceremony = msgspec.json.decode(found.row.ceremony, type=_Ceremony)
        is_late = self._sessions.now_ms() - ceremony.at >= _CHALLENGE_MS
        if not is_taken or is_late or ceremony.purpose != purpose:
            raise PasskeyRefused
        return base64url_to_bytes(ceremony.challenge)


class _Proved(msgspec.Struct, frozen=True):
    sign_count: int


def _find_id(answer: str) -> str:
    try:
        return bytes_to_base64url(parse_authentication_credential_json(_bounded(answer)).raw_id)
    except _UNREADABLE as cause:
        raise _refused(cause) from None


def _bounded(answer: str) -> str:
    if len(answer) > _LONGEST_ANSWER:
        raise PasskeyRefused
    return answer


def _refused(cause: Exception) -> PasskeyRefused:
    # The library's sentence quotes what the browser sent: only what kind of failure it was is told.
    _LOG.info("a passkey was refused: %s", type(cause).__name__)
    return PasskeyRefused()


def _describe(stored: tuple[passkey_rows.StoredPasskey, ...]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(each.id)) for each in stored]


def _method(*, backed_up: bool) -> str:
    """A key that is copied between devices is not one piece of hardware's."""
    return SOFTWARE_KEY if backed_up else HARDWARE_KEY


def _check_label(label: str) -> None:
    plain = label.strip()
    is_plain = plain.isprintable() and not key_format.holds_secret(plain)
    if not (0 < len(plain) <= _LONGEST_LABEL and is_plain):
        raise InvalidLabel(f"a label is 1 to {_LONGEST_LABEL} printable characters, and no secret")
